"""Where a library can send its calls: to the provider itself, or to it through Siding in one of several ways. A test
that holds for each of them says so once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps import FOLDER
from chat_project import pythons
from harness.addresses import free_address, listens
from harness.backend import Backend
from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import DIALECTS, SimulatedLLM
from harness.steps import Answer, always
from harness.waiting import until
from unhindered import UNHINDERED

# What clients of a terminated route send belongs to them; the provider gets this one.
PROVIDER_KEY = "sk-of-the-provider"


@dataclass(frozen=True)
class Entry:
    """An entry point at work, with a provider of its own. `bases` are base URLs without a version, by dialect."""

    llm: SimulatedLLM
    bases: dict[str, str]

    def without_addresses(self, text: str) -> str:
        """A text in which it does not show which way was taken."""
        for address in sorted({*self.bases.values(), self.llm.url}, key=len, reverse=True):
            text = text.replace(address, "BASE").replace(address.partition("//")[2], "BASE")
        return text


@dataclass(frozen=True)
class EntryPoint:
    """
    A way to a provider. `own_key` is the key that the provider gets where it is not the client's. `ends_with_errors` is
    whether a stream that breaks off at the provider ends with an error in the provider's words, and not with the
    connection; `answers_whole` whether nothing of an answer that is no stream, not even its head, comes before it is
    complete. `vendors_only` keeps the tests short: no libraries but the vendors' own go this way.
    """

    name: str
    start: Callable[[ExitStack, Path], Entry]
    own_key: str = ""
    ends_with_errors: bool = False
    answers_whole: bool = False
    vendors_only: bool = False


def direct(stack: ExitStack, directory: Path) -> Entry:
    """The provider itself, which every other entry point is compared with."""
    llm = _provider(stack, directory)
    return Entry(llm, llm.providers())


def egress(stack: ExitStack, directory: Path) -> Entry:
    """The listener for calls from outside a request."""
    address = free_address()
    llm = _provider(stack, directory)
    app = stack.enter_context(ScriptedWorker(always(Answer())))
    settings = {"server": {"egress": address}, "providers": dict.fromkeys(DIALECTS, UNHINDERED)}
    stack.enter_context(Siding(directory, app.address, llm.providers(), settings))
    until("the egress to listen", lambda: listens(address))
    return Entry(llm, {dialect: f"http://{address}/{dialect}" for dialect in DIALECTS})


def terminate(stack: ExitStack, directory: Path) -> Entry:
    """Routes that Siding answers from a provider, with a key of its own, after the app has let the client in."""
    routes = [_terminated(path, dialect) for path, dialect in TERMINATED.items()]
    llm = _provider(stack, directory)
    app = stack.enter_context(ScriptedWorker(always(Answer(204, b""))))
    own = {"api_key_env": "PROVIDER_KEY", **UNHINDERED}
    settings = {"routes": routes, "providers": dict.fromkeys(DIALECTS, own)}
    environment = {"PROVIDER_KEY": PROVIDER_KEY}
    proxy = stack.enter_context(Siding(directory, app.address, llm.providers(), settings, environment=environment))
    return Entry(llm, dict.fromkeys(DIALECTS, proxy.url))


def relay(stack: ExitStack, directory: Path) -> Entry:
    """A view on a single sync worker that makes each call itself and relays streams; its clients are the libraries."""
    llm = _provider(stack, directory)
    environment = {"LLM_URL": llm.url, "SIDING_SECRET": SECRET}
    python = list(pythons().values())[-1]
    app = stack.enter_context(
        Backend(directory, "forwarding:application", FOLDER, python=python, environment=environment)
    )
    settings = {"backend": {"workers": 1}, "providers": dict.fromkeys(DIALECTS, UNHINDERED)}
    proxy = stack.enter_context(Siding(directory, app.address, llm.providers(), settings))
    return Entry(llm, {dialect: f"{proxy.url}/{dialect}" for dialect in DIALECTS})


DIRECT = EntryPoint("direct", direct)
ENTRY_POINTS = (
    EntryPoint("egress", egress),
    EntryPoint("terminate", terminate, PROVIDER_KEY, ends_with_errors=True, vendors_only=True),
    EntryPoint("relay", relay, ends_with_errors=True, answers_whole=True, vendors_only=True),
)

TERMINATED = {
    "/v1/chat/completions": "openai",
    "/v1/responses": "openai",
    "/v1/embeddings": "openai",
    "/v1/messages": "anthropic",
    "/v1/models/**": "gemini",
    "/v1beta/models/**": "gemini",
}


def _terminated(path: str, provider: str) -> dict[str, Any]:
    return {"path": path, "terminate": {"provider": provider, "authorize": "/internal/llm-auth/"}}


def _provider(stack: ExitStack, directory: Path) -> SimulatedLLM:
    return stack.enter_context(SimulatedLLM(directory, "--token-rate", "1000"))
