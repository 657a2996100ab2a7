"""What several processes need and one of them makes, while the others wait. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else has it meanwhile, of those who ask. A file beside it, `.lock`, stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What the first who asks makes, as JSON has it. Where that fails, the next one tries."""
    with locked(path):
        if not path.exists():
            # In one step: a file that is there is whole.
            written = path.with_name(f"{path.name}.part")
            written.write_text(json.dumps(make()))
            written.rename(path)
        return json.loads(path.read_text())


@contextlib.contextmanager
def shared(path: Path, clean: Callable[[], object]) -> Iterator[None]:
    """Others who ask may have it at the same time; `clean` is called when nobody has it any more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.users").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            # One leaves after the other. The last one gets it alone, and a new one waits meanwhile.
            with locked(path):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    fcntl.flock(file, fcntl.LOCK_UN)
                else:
                    clean()
