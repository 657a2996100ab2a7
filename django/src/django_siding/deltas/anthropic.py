"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .fields import (
    count_of,
    last_of,
    mapping,
    mappings,
    source,
    spoken,
    text_of,
    total,
    whole_input,
)
from .reader import Reader
from .usage import Usage
from .vocabulary import BlockEnd, Delta, Finish, Reasoning, Text, ToolEnd, ToolInput, ToolStart

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
    "tool_use": "tool-calls",
}


class Messages(Reader):
    """Anthropic's messages."""

    def __init__(self, usage: Usage) -> None:
        super().__init__(usage)
        self.blocks: list[int] = []

    def count(self, part: dict[str, Any]) -> None:
        for usage in (mapping(mapping(part, "message"), "usage"), mapping(part, "usage")):
            read = count_of(usage, "cache_read_input_tokens")
            written = count_of(usage, "cache_creation_input_tokens")
            # Input that the cache had, or was given, is counted apart from the rest.
            self.usage.update(
                input=count_of(usage, "input_tokens"),
                output=count_of(usage, "output_tokens"),
                cache_read=read,
                apart=total(read, written),
            )

    def read(self, part: dict[str, Any]) -> Iterator[Delta]:
        index = count_of(part, "index") or 0
        match text_of(part, "type"):
            case "content_block_start":
                yield from self._block(index, mapping(part, "content_block"))
            case "content_block_delta":
                yield from self._delta(index, mapping(part, "delta"))
            case "content_block_stop":
                yield self._end(index)
            case "message_delta":
                yield from self._finish(mapping(part, "delta"))
            case "message":
                for at, block in enumerate(mappings(part, "content")):
                    yield from self._block(at, block)
                    yield self._end(at)
                yield from self._finish(part)

    def _block(self, index: int, block: dict[str, Any]) -> Iterator[Delta]:
        """A block at its beginning, where streams have it empty and plain answers whole."""
        match text_of(block, "type"):
            case "text":
                yield from spoken(Text, block, "text")
            case "thinking":
                yield from spoken(Reasoning, block, "thinking")
            case "tool_use":
                call = len(self.blocks)
                self.blocks.append(index)
                yield ToolStart(call, text_of(block, "id"), text_of(block, "name"), False)
                yield from whole_input(call, block, "input")
        for citation in mappings(block, "citations"):
            yield from source(citation)

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[Delta]:
        match text_of(delta, "type"):
            case "text_delta":
                yield from spoken(Text, delta, "text")
            case "thinking_delta":
                yield from spoken(Reasoning, delta, "thinking")
            case "input_json_delta":
                call = last_of(self.blocks, lambda block: block == index)
                fragment = text_of(delta, "partial_json")
                if call is not None and fragment:
                    yield ToolInput(call, fragment)
            case "citations_delta":
                yield from source(mapping(delta, "citation"))

    def _end(self, index: int) -> Delta:
        call = last_of(self.blocks, lambda block: block == index)
        return BlockEnd() if call is None else ToolEnd(call)

    def _finish(self, message: dict[str, Any]) -> Iterator[Delta]:
        if isinstance(message.get("stop_reason"), str):
            yield Finish(REASONS.get(message["stop_reason"], "other"))
