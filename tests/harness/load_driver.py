"""HTTP load with checked answers, as a process beside the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.process import BINARIES, Process, ProcessFailed


class LoadDriver(Process):
    """
    The driver at work; with a warm-up, it is ready when that is over. `arguments` are its flags. `result()` waits for
    its end.
    """

    def __init__(self, directory: Path, url: str, *arguments: str) -> None:
        super().__init__(directory, "load-driver")
        self.command = [str(BINARIES / "load-driver"), "--url", url, "--json", "--quiet", *arguments]
        self._warms_up = "--warm-up" in arguments

    def is_ready(self) -> bool:
        """Whether what happens now counts."""
        return not self._warms_up or "measuring\n" in self.log

    def result(self, patience: float) -> dict[str, Any]:
        """What happened."""
        code = self.wait(patience)
        if code:
            raise ProcessFailed(f"the load driver ended with {code}:\n{self.last_words()}")
        return json.loads(self.last_words(1))


def asking(concurrency: int) -> list[str]:
    """The flags for chats whose answers are checked, in a closed loop."""
    template = '{"prompt": "Question {n}: why do trains wait?"}'
    return ["--concurrency", str(concurrency), "--body-template", template, "--expect-echo"]
