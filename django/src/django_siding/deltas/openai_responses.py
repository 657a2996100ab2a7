"""OpenAI's responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .fields import count_of, last_of, mapping, mappings, source, spoken, text_of
from .reader import Reader
from .usage import Usage
from .vocabulary import (
    BlockEnd,
    Delta,
    Failure,
    Finish,
    Reasoning,
    Text,
    ToolEnd,
    ToolInput,
    ToolStart,
)

INPUTS = {"function_call": "arguments", "custom_tool_call": "input"}
REASONS = {"content_filter": "content-filter", "max_output_tokens": "length"}


class Responses(Reader):
    """OpenAI's responses."""

    def __init__(self, usage: Usage) -> None:
        super().__init__(usage)
        self.items: list[int] = []
        self.with_input: set[int] = set()

    def count(self, part: dict[str, Any]) -> None:
        usage = mapping(part, "usage") or mapping(mapping(part, "response"), "usage")
        self.usage.update(
            input=count_of(usage, "input_tokens"),
            output=count_of(usage, "output_tokens"),
            cache_read=count_of(mapping(usage, "input_tokens_details"), "cached_tokens"),
        )

    def read(self, part: dict[str, Any]) -> Iterator[Delta]:
        at = count_of(part, "output_index") or 0
        match text_of(part, "type").removeprefix("response."):
            case "output_text.delta" | "refusal.delta":
                yield from spoken(Text, part, "delta")
            case "reasoning_summary_text.delta" | "reasoning_text.delta":
                yield from spoken(Reasoning, part, "delta")
            case "content_part.done" | "reasoning_summary_part.done":
                yield BlockEnd()
            case "output_text.annotation.added":
                yield from self._cited(mapping(part, "annotation"))
            case "output_item.added":
                yield from self._begin(at, mapping(part, "item"))
            case "function_call_arguments.delta" | "custom_tool_call_input.delta":
                yield from self._input(at, text_of(part, "delta"))
            case "output_item.done":
                yield from self._end(at, mapping(part, "item"))
            case "completed" | "incomplete" | "failed":
                if isinstance(part.get("response"), dict):
                    yield self._finish(part["response"])
            case "":
                yield from self._plain(part)

    def _begin(self, at: int, item: dict[str, Any]) -> Iterator[Delta]:
        kind = text_of(item, "type")
        if kind in INPUTS:
            takes_text = kind == "custom_tool_call"
            id, name = text_of(item, "call_id"), text_of(item, "name")
            yield ToolStart(len(self.items), id, name, takes_text)
            self.items.append(at)

    def _input(self, at: int, fragment: str) -> Iterator[Delta]:
        call = last_of(self.items, lambda item: item == at)
        if call is not None and fragment:
            self.with_input.add(call)
            yield ToolInput(call, fragment)

    def _end(self, at: int, item: dict[str, Any]) -> Iterator[Delta]:
        """An item's end has all of it, which some servers told in no other event."""
        key = INPUTS.get(text_of(item, "type"))
        if key is None:
            return
        if at not in self.items:
            yield from self._begin(at, item)
        call = last_of(self.items, lambda item: item == at)
        if call is not None:
            if call not in self.with_input:
                yield from self._input(at, text_of(item, key))
            yield ToolEnd(call)

    def _finish(self, response: dict[str, Any]) -> Delta:
        status = text_of(response, "status")
        if status == "completed":
            return Finish("tool-calls" if self.items else "stop")
        if status == "failed":
            return Failure(text_of(mapping(response, "error"), "message"))
        why = text_of(mapping(response, "incomplete_details"), "reason")
        return Finish(REASONS.get(why, "other"))

    def _plain(self, answer: dict[str, Any]) -> Iterator[Delta]:
        for at, item in enumerate(mappings(answer, "output")):
            for part in [*mappings(item, "summary"), *mappings(item, "content")]:
                match text_of(part, "type"):
                    case "output_text":
                        yield from spoken(Text, part, "text")
                    case "refusal":
                        yield from spoken(Text, part, "refusal")
                    case "summary_text" | "reasoning_text":
                        yield from spoken(Reasoning, part, "text")
                for annotation in mappings(part, "annotations"):
                    yield from self._cited(annotation)
                yield BlockEnd()
            yield from self._end(at, item)
        if answer.get("status") is not None:
            yield self._finish(answer)

    def _cited(self, annotation: dict[str, Any]) -> Iterator[Delta]:
        if text_of(annotation, "type") == "url_citation":
            yield from source(annotation)
