"""The vendors' libraries, unmodified, at every entry point: what each returns or raises there is what it returns or
raises at the provider itself. Each library is run once at each of them, whichever process of a session is first to ask
what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chat_project import fingerprint
from entry_points import DIRECT, ENTRY_POINTS, EntryPoint
from harness.once import once
from sdk_outcomes import KEY, Asked, Case, asked

PLAIN, STREAM, TOOL, TOOL_STREAM, STRUCTURED = "plain", "stream", "tool", "tool stream", "structured"
BOTH = (PLAIN, STREAM)
ALL = (*BOTH, TOOL, TOOL_STREAM, STRUCTURED)
BREAKS_OFF, STALLS = "a stream that breaks off", "a time-out in the body"

# The forms in which each API of each program can ask.
LIBRARIES: dict[str, dict[str, tuple[str, ...]]] = {
    "of_openai.py": {
        "chat": (*ALL, "stream with usage"),
        "responses": ALL,
        "embeddings": (PLAIN,),
        "async": BOTH,
    },
    "of_anthropic.py": {"messages": ALL, "async": BOTH},
    "of_google.py": {"content": ALL, "embeddings": (PLAIN,)},
    "of_langchain.py": dict.fromkeys(("openai", "anthropic"), ALL),
    "of_litellm.py": dict.fromkeys(("openai", "anthropic", "gemini"), ALL),
    "openai.mjs": {"chat": (*ALL, "stream with usage"), "responses": ALL, "embeddings": (PLAIN,)},
    "ai.mjs": dict.fromkeys(("chat", "responses", "anthropic", "google"), ALL),
}

# What goes wrong, by name: what the prompt says to the simulated LLM, and the forms in which it can go so.
FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a wrong key": ("", BOTH),
    "a bad request": ("[status=400]", BOTH),
    "a rate limit": ("[status=429][retry-after=0]", BOTH),
    "a server error": ("[status=500][retry-after=0]", BOTH),
    "an overload": ("[status=529][retry-after=0]", BOTH),
    "a prompt that is too long": ("[refuse=context-length]", BOTH),
    "a prompt that is filtered": ("[refuse=content-filter]", BOTH),
    "an answer that is filtered": ("[finish=filter]", BOTH),
    "an answer that is cut": ("[finish=length]", BOTH),
    "a time-out": ("[hang]", BOTH),
    STALLS: ("[hang-body]", BOTH),
    "an error in the stream": ("[error-body]", (STREAM,)),
    BREAKS_OFF: ("[reset-body]", (STREAM,)),
    "a stream that no parser takes": ("[malformed]", (STREAM,)),
}
IMPATIENT_SECONDS = 2.0
# Those that are no vendor's: they call as the vendors' SDKs do, and take longest.
NO_VENDORS = {"of_langchain.py", "of_litellm.py"}
# Clients that try again by themselves, and obey a provider that tells them not to.
RETRYING = {("of_openai.py", "chat"), ("of_anthropic.py", "messages"), ("openai.mjs", "chat")}
# The statuses that a library tells of what the provider answers with an error.
STATUSES = {
    "a wrong key": {401},
    "a bad request": {400},
    "a rate limit": {429},
    "a server error": {500},
    "an overload": {529, 500},  # LiteLLM has no word for it
}
BAD_KEY = "bad-key"


@dataclass(frozen=True)
class Library:
    """What came of a library's calls at an entry point and at the provider, by case."""

    point: EntryPoint
    through: dict[Case, Asked]
    at_provider: dict[Case, Asked]

    def cases(self, name: str) -> list[Case]:
        """The cases of an answer's form or of a fault."""
        found = [case for case in self.through if _name(case) == name]
        if not found:
            pytest.skip("the library has no such call")
        return found


@pytest.fixture(scope="module", params=ENTRY_POINTS, ids=lambda point: point.name)
def point(request: pytest.FixtureRequest) -> EntryPoint:
    return request.param


@pytest.fixture(scope="module", params=LIBRARIES)
def library(
    request: pytest.FixtureRequest, point: EntryPoint, tmp_path_factory: pytest.TempPathFactory, session_path: Path
) -> Library:
    program = request.param
    if point.vendors_only and program in NO_VENDORS:
        pytest.skip("only the vendors' own libraries are asked here")

    def came(where: EntryPoint) -> dict[Case, Asked]:
        cases, name = list(_cases(program)), f"{program}-{where.name}"
        folder = tmp_path_factory.mktemp(name)
        told = once(session_path / f"{name}.json", lambda: asked(program, cases, where, folder))
        return {case: Asked(**one) for case, one in zip(cases, told, strict=True)}

    with ThreadPoolExecutor() as threads:
        through, at_provider = threads.map(came, (point, DIRECT))
    return Library(point, through, at_provider)


def _cases(program: str) -> Iterator[Case]:
    for api, forms in LIBRARIES[program].items():
        # The prompt names the case, so that the provider can tell how often it was asked.
        for form in forms:
            directive = "[tool]" if form in (TOOL, TOOL_STREAM) else ""
            yield Case(api, form, f"{directive}answer: {form}, {program} {api}")
        for name, (directives, possible) in FAULTS.items():
            for form in [form for form in possible if form in forms]:
                prompt = f"{directives}fault: {name}, {form}, {program} {api}"
                key = {"key": BAD_KEY} if name == "a wrong key" else {}
                yield Case(api, form, prompt, **key, **({"timeout": IMPATIENT_SECONDS} if "time-out" in name else {}))

        if (program, api) in RETRYING:
            yield Case(api, PLAIN, f"[status=429][retry-after-ms=20]retries: its own, {program} {api}", retries=None)


def _name(case: Case) -> str:
    return case.prompt.partition(": ")[2].partition(",")[0]


@pytest.mark.parametrize("form", [*ALL, "stream with usage"])
def test_an_answer_is_the_one_that_the_provider_gives(library: Library, form: str) -> None:
    for case in library.cases(form):
        expected, found = library.at_provider[case].outcome, library.through[case]
        assert "returned" in expected, (case, expected)
        assert _is_told(expected, case), (case, expected)
        assert found.outcome == expected, case
        assert found.requests == 1, case


def _is_told(outcome: dict[str, Any], case: Case) -> bool:
    """Whether a library told its caller what this case is about: the answer begins with a hash of the prompt."""
    text = json.dumps(outcome)
    wanted = {TOOL: r'"weather"', TOOL_STREAM: r'"weather"', STRUCTURED: r'days\\*": ?1'}.get(case.form, "")
    is_there = case.api == "embeddings" or fingerprint(case.prompt) in text
    return is_there and re.search(wanted, text) is not None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_what_it_is_at_the_provider(library: Library, fault: str) -> None:
    if fault == "a wrong key" and library.point.own_key:
        pytest.skip("the client's key is none of the provider's")
    for case in library.cases(fault):
        expected, found = library.at_provider[case].outcome, library.through[case].outcome
        if fault in STATUSES:
            assert _statuses(expected), (case, expected)
            assert _statuses(expected) <= STATUSES[fault], (case, expected)
        if _may_differ(fault, case, library.point):
            assert _has_failed(expected), (case, expected)
            assert _has_failed(found), (case, found)
        else:
            assert found == expected, case


def _may_differ(fault: str, case: Case, point: EntryPoint) -> bool:
    """Whether a fault shows as another error there: no library takes any for a success."""
    if fault == BREAKS_OFF:
        return point.ends_with_errors
    return fault == STALLS and case.form == PLAIN and point.answers_whole


def _has_failed(outcome: dict[str, Any]) -> bool:
    """Whether the library told its caller that a stream is not complete; the ai package does beside what came."""
    return "raised" in outcome or bool(outcome["returned"].get("failure"))


def test_a_librarys_own_retries_do_not_multiply_those_of_siding(library: Library) -> None:
    for case in library.cases("its own"):
        through, at_provider = library.through[case], library.at_provider[case]
        assert through.outcome == at_provider.outcome, case
        assert _statuses(through.outcome) == {429}
        assert at_provider.requests == 3, "the library retries twice"
        assert through.requests == 2, "Siding has retried once, and told the library so"


def _statuses(told: Any) -> set[int]:
    """The statuses of all errors in an outcome."""
    if isinstance(told, dict):
        own = {told["status"]} if isinstance(told.get("status"), int) else set()
        return own.union(*map(_statuses, told.values()))
    return set().union(*map(_statuses, told)) if isinstance(told, list) else set()


def test_the_provider_sees_the_key_that_it_is_to_see(library: Library) -> None:
    for case in library.cases(PLAIN):
        assert library.through[case].keys == [library.point.own_key or KEY], case
