"""Gemini's generated content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .fields import count_of, mapping, mappings, source, spoken, text_of, total, whole_input
from .reader import Reader
from .usage import Usage
from .vocabulary import Delta, Finish, Reasoning, Text, ToolEnd, ToolStart

REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content-filter",
    "RECITATION": "content-filter",
    "BLOCKLIST": "content-filter",
    "PROHIBITED_CONTENT": "content-filter",
    "SPII": "content-filter",
    "IMAGE_SAFETY": "content-filter",
    "MODEL_ARMOR": "content-filter",
    "MALFORMED_FUNCTION_CALL": "error",
}


class Gemini(Reader):
    """Gemini's generated content. Each chunk is a whole answer with some of the parts."""

    def __init__(self, usage: Usage) -> None:
        super().__init__(usage)
        self.calls = 0

    def count(self, part: dict[str, Any]) -> None:
        usage = mapping(part, "usageMetadata")
        asked = count_of(usage, "promptTokenCount"), count_of(usage, "toolUsePromptTokenCount")
        told = count_of(usage, "candidatesTokenCount"), count_of(usage, "thoughtsTokenCount")
        cached = count_of(usage, "cachedContentTokenCount")
        self.usage.update(input=total(*asked), output=total(*told), cache_read=cached)

    def read(self, part: dict[str, Any]) -> Iterator[Delta]:
        if mapping(part, "promptFeedback").get("blockReason") is not None:
            yield Finish("content-filter")
            return
        candidates = (c for c in mappings(part, "candidates") if (count_of(c, "index") or 0) == 0)
        candidate = next(candidates, {})
        for piece in mappings(mapping(candidate, "content"), "parts"):
            yield from spoken(Reasoning if piece.get("thought") is True else Text, piece, "text")
            if isinstance(piece.get("functionCall"), dict):
                yield from self._call(piece["functionCall"])
        for ground in mappings(mapping(candidate, "groundingMetadata"), "groundingChunks"):
            yield from source(mapping(ground, "web"), "uri")
        reason = text_of(candidate, "finishReason")
        if reason == "STOP" and self.calls:
            yield Finish("tool-calls")
        elif reason not in ("", "FINISH_REASON_UNSPECIFIED"):
            yield Finish(REASONS.get(reason, "other"))

    def _call(self, function: dict[str, Any]) -> Iterator[Delta]:
        call = self.calls
        self.calls += 1
        yield ToolStart(call, text_of(function, "id"), text_of(function, "name"), False)
        yield from whole_input(call, function, "args")
        yield ToolEnd(call)
