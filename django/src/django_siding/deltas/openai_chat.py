"""OpenAI's chat completions and legacy completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .fields import count_of, last_of, mapping, mappings, source, spoken, text_of
from .reader import Reader
from .usage import Usage
from .vocabulary import Delta, Finish, Reasoning, Text, ToolInput, ToolStart

REASONS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "error": "error",
}


class Chat(Reader):
    """OpenAI's chat completions and legacy completions. Plain messages are deltas of everything."""

    def __init__(self, usage: Usage) -> None:
        super().__init__(usage)
        self.calls: list[tuple[int, str]] = []

    def count(self, part: dict[str, Any]) -> None:
        if part.get("usage") is None:
            return
        usage = mapping(part, "usage")
        cached = count_of(mapping(usage, "prompt_tokens_details"), "cached_tokens")
        self.usage.update(
            input=count_of(usage, "prompt_tokens"),
            output=count_of(usage, "completion_tokens"),
            cache_read=cached,
        )

    def read(self, part: dict[str, Any]) -> Iterator[Delta]:
        choices = (c for c in mappings(part, "choices") if (count_of(c, "index") or 0) == 0)
        choice = next(choices, None)
        if choice is None:
            return
        yield from spoken(Text, choice, "text")
        delta = choice.get("delta")
        yield from self._delta(delta if isinstance(delta, dict) else mapping(choice, "message"))
        if reason := text_of(choice, "finish_reason"):
            yield Finish(REASONS.get(reason, "other"))

    def _delta(self, delta: dict[str, Any]) -> Iterator[Delta]:
        if len(delta) == 1 and "content" in delta:
            yield from spoken(Text, delta, "content")  # nearly all of them
            return
        # Compatible servers agree on thoughts, but not on what to call them.
        thought = "reasoning_content" if text_of(delta, "reasoning_content") else "reasoning"
        yield from spoken(Reasoning, delta, thought)
        yield from spoken(Text, delta, "content")
        yield from spoken(Text, delta, "refusal")
        for annotation in mappings(delta, "annotations"):
            yield from source(mapping(annotation, "url_citation"))
        for at, call in enumerate(mappings(delta, "tool_calls")):
            index = count_of(call, "index")
            yield from self._tool_call(at if index is None else index, call)

    def _tool_call(self, index: int, fragment: dict[str, Any]) -> Iterator[Delta]:
        id = text_of(fragment, "id")
        takes_text = not isinstance(fragment.get("function"), dict)
        inner = mapping(fragment, "custom") if takes_text else mapping(fragment, "function")
        takes_text = takes_text and isinstance(fragment.get("custom"), dict)
        # Some servers number all calls 0, and some name a call again in each fragment of it.
        call = last_of(self.calls, lambda known: known[0] == index and id in ("", known[1]))
        if call is None:
            call = len(self.calls)
            self.calls.append((index, id))
            yield ToolStart(call, id, text_of(inner, "name"), takes_text)
        if given := text_of(inner, "input" if takes_text else "arguments"):
            yield ToolInput(call, given)
