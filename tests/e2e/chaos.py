"""What tests of bad days have in common: a whole system, how much it is given to do, and the books: what clients were
answered, what the provider was asked, what the database holds."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chat_project
from chat_project import Answer, Chat, is_answer_to
from harness.backend import ChatProject
from harness.once import once
from harness.siding import Siding, merged
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until

# Slow clients; docs/chaos.md is made with 10,000. All other sizes follow.
CLIENTS = int(os.environ.get("CHAOS_CLIENTS", "500"))
CHATS = min(200, max(40, CLIENTS // 10))
# Chats at once: less than what a queue holds or a minute answers.
AT_ONCE = 24
WORKERS = 2
# A busy machine is no fault: nobody is turned away for it.
SETTINGS: dict[str, Any] = {"backend": {"workers": WORKERS, "queue": {"timeout": "50s"}}}
# Stands for the status of an answer that broke off.
CUT_OFF = 0


class Seeded(ChatProject):
    """The chat project with a database that was made for the first of them."""

    def start(self) -> None:
        """Makes one or copies it."""
        own = self.directory.parent
        session = own.parent if own.name.startswith("popen-") else own
        made = session / "seeded.sqlite3"

        def make() -> str:
            self.make_database()
            shutil.copy(self.database_path, made)
            return self.token

        self.token = once(session / "seeded.json", make)
        if not self.database_path.exists():
            shutil.copy(made, self.database_path)
        super(ChatProject, self).start()


def system(
    stack: ExitStack,
    directory: Path,
    llm: SimulatedLLM,
    settings: dict[str, Any] | None = None,
    *,
    url: str = "",
    environment: dict[str, str] | None = None,
    proxy: Callable[..., Siding] = Siding,
) -> Chat:
    """The chat project under gunicorn, Siding before it and a provider at `url`; it need not be there yet."""
    url = url or llm.url
    told = {"OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url, "GEMINI_BASE_URL": url, "LLM_TIMEOUT": "30"}
    backend = stack.enter_context(
        Seeded(
            directory,
            workers=WORKERS,
            python=list(chat_project.pythons().values())[-1],
            environment={**told, "SIDING_SECRET": SECRET, **(environment or {})},
        )
    )
    chosen = merged(SETTINGS, settings or {})
    siding = stack.enter_context(proxy(directory, backend.address, {"openai": url}, chosen))
    siding.until_app()
    return Chat(siding.url, llm, backend, siding)


def prompts(name: str, count: int = CHATS) -> list[str]:
    """Different ones."""
    return [f"{name}, {number}" for number in range(count)]


def ask(chat: Chat, prompt: str) -> Answer:
    """A chat, whose answer may break off."""
    try:
        return chat.ask(prompt)
    except http.client.IncompleteRead as broken:
        return Answer(CUT_OFF, http.client.HTTPMessage(), broken.partial)


def ask_all(chat: Chat, asked: Sequence[str], at_once: int = AT_ONCE) -> list[Answer]:
    """Chats, so many at once."""
    with ThreadPoolExecutor(at_once) as clients:
        return list(clients.map(chat.ask, asked))


@dataclass
class Books:
    """Sums. `kinds` are the answers by status, with the problem's word where it is Siding's own."""

    kinds: Counter[str]
    calls: int
    rows: int

    @property
    def asked(self) -> int:
        """Chats."""
        return self.kinds.total()

    @property
    def whole(self) -> int:
        """Chats that were answered."""
        return self.kinds["200"]

    def failed(self) -> str:
        """The answers that were none, as a list."""
        told = sorted((kind, count) for kind, count in self.kinds.items() if kind != "200")
        return ", ".join(f"{count} with {kind}" for kind, count in told) or "none"


def books(chat: Chat, asked: Sequence[str], answers: Sequence[Answer], tries: int = 1) -> Books:
    """
    Checks that no chat was lost or doubled: one that was answered was called for once and written once; of one that
    failed, the provider was asked at most `tries` times, and the database has all of it, its question, or nothing.
    """
    kinds: Counter[str] = Counter()
    calls = rows = 0
    for prompt, answer in zip(asked, answers, strict=True):
        called, written = chat.calls(prompt), chat.rows(prompt)
        kinds[kind(answer)] += 1
        calls, rows = calls + called, rows + len(written)
        if answer.status == 200:
            assert is_answer_to(prompt, answer.json["answer"]), answer.body
            assert called == 1, f"{prompt!r} was called for {called} times"
            assert written == [("user", prompt), ("assistant", answer.json["answer"])], written
        else:
            assert called <= tries, f"{prompt!r} was called for {called} times"
            assert [role for role, _ in written] in ([], ["user"], ["user", "assistant"]), written
    return Books(kinds, calls, rows)


def kind(answer: Answer) -> str:
    """The status, and the word of Siding's problem."""
    if answer.status == CUT_OFF:
        return "cut off"
    if answer.headers.get("content-type") != "application/problem+json":
        return str(answer.status)
    return f"{answer.status} `{json.loads(answer.body)['type'].rpartition(':')[2]}`"


def all_answered(chat: Chat, name: str, count: int = CHATS) -> Books:
    """Chats when nothing is wrong."""
    asked = prompts(name, count)
    done = books(chat, asked, ask_all(chat, asked))
    assert done.whole == count, done
    return done


def some_pending(chat: Chat, count: int = 4) -> int:
    """Waits until so many calls are under way at the provider, and says how many are. A busy machine takes a while."""
    until(f"{count} calls to be pending", lambda: chat.llm.stats()["in_flight"] >= count, 60)
    return int(chat.llm.stats()["in_flight"])


def at_rest(siding: Siding) -> None:
    """Nothing is under way and nothing is held."""
    for family in ("siding_exchanges_in_flight", "siding_calls_in_flight", "siding_buffered_bytes"):
        siding.until_value(0, family)
    siding.until_value(0, "siding_workers_busy")


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def mib(size: float) -> str:
    """Bytes, for people."""
    return f"{size / (1 << 20):.1f} MiB"
