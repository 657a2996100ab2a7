"""A provider's stream in the format that a client reads, where no Siding is in front to do it.

The same formats as Siding's, held to the same cases (tests/relay-formats): the provider's own
bytes, plain text, and the UI message stream of the AI SDK.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .deltas import Deltas
from .deltas.events import is_event_stream, parse
from .deltas.vocabulary import (
    BlockEnd,
    Delta,
    Failure,
    Finish,
    Reasoning,
    Source,
    Text,
    ToolEnd,
    ToolInput,
    ToolStart,
)

PROVIDER = "provider"
TEXT = "text"
UI_MESSAGE_STREAM = "ui-message-stream"
FORMATS = (PROVIDER, TEXT, UI_MESSAGE_STREAM)

# Of an event that is held until it is complete; a larger one is handed on as it comes.
LARGEST_EVENT = 1024 * 1024
# Sources that are told; more are left out.
MOST_SOURCES = 100

INCOMPLETE = "The answer ended before it was complete."
BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")


def content_type(format: str, provider_content_type: str) -> str:
    """The Content-Type of a stream, given that of the provider's."""
    if format == TEXT:
        return "text/plain; charset=utf-8"
    return provider_content_type if format == PROVIDER else "text/event-stream"


def headers(format: str) -> dict[str, str]:
    """The other headers of a stream; the app may say its own Cache-Control."""
    common = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    if format == UI_MESSAGE_STREAM:
        return {**common, "x-vercel-ai-ui-message-stream": "v1"}
    return common


def understands(format: str, url: str) -> bool:
    """Whether answers of the API at this address can be brought into this format."""
    return format == PROVIDER or Deltas(url).is_understood


def translator(format: str, url: str) -> Translator:
    """For the answer of the API at this address, in one of FORMATS."""
    kinds: dict[str, Callable[[str], Translator]] = {
        PROVIDER: Provider,
        TEXT: PlainText,
        UI_MESSAGE_STREAM: UiMessageStream,
    }
    if format not in kinds:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    return kinds[format](url)


class Translator(ABC):
    """Turns an answer into a format as it arrives, and collects what it says.

    `text`, `finish_reason` and `usage` are what is known so far; `error` is the failure that the
    provider itself reported within its answer, or that the answer lacks its own end.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.finish_reason: str | None = None
        self.error: str | None = None
        self._texts: list[str] = []
        self._deltas = Deltas(url)

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def usage(self) -> dict[str, int] | None:
        """Tokens: input, output and cached_input, which is a part of the input."""
        return self._deltas.usage.total()

    def feed(self, raw: bytes) -> bytes:
        """What the client gets of it, which may be nothing yet."""
        return self._written(raw, self._heard(self._deltas.feed(raw)))

    def finish(self) -> bytes:
        """What is left after a complete answer."""
        deltas = self._heard(self._deltas.finish())
        if self.finish_reason is None and self.error is None and self._deltas.is_understood:
            self.error = INCOMPLETE
        return self._end(deltas)

    def fail(self, message: str) -> bytes | None:
        """The event that tells the client that the answer breaks off here; None: break it off."""
        return None

    def _heard(self, deltas: list[Delta]) -> list[Delta]:
        for delta in deltas:
            if isinstance(delta, Text):
                self._texts.append(delta.text)
            elif isinstance(delta, Finish):
                self.finish_reason = delta.reason
            elif isinstance(delta, Failure):
                self.error = delta.message
        return deltas

    @abstractmethod
    def _written(self, raw: bytes, deltas: list[Delta]) -> bytes:
        """What the client gets of it."""

    @abstractmethod
    def _end(self, deltas: list[Delta]) -> bytes:
        """What the client gets at the end."""


class PlainText(Translator):
    def _written(self, raw: bytes, deltas: list[Delta]) -> bytes:
        return "".join(delta.text for delta in deltas if isinstance(delta, Text)).encode()

    def _end(self, deltas: list[Delta]) -> bytes:
        return self._written(b"", deltas)


class Provider(Translator):
    """The provider's own bytes, event by event: no reader could use half of one, and what was
    delivered always ends with an event, so that an error can follow."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._held = b""
        self._is_stream: bool | None = None
        self._oversized = False

    def _written(self, raw: bytes, deltas: list[Delta]) -> bytes:
        start = max(0, len(self._held) - 3)
        raw = self._held + raw
        self._held = b""
        if self._is_stream is None:
            start = 0
            self._is_stream = is_event_stream(raw)
        if self._is_stream is None:
            self._held = raw
            return b""
        if not self._is_stream:
            return raw
        ends = [blank.end() for blank in BLANK_LINE.finditer(raw, start)]
        complete = ends[-1] if ends else 0
        self._oversized = self._oversized and not ends
        if self._oversized or len(raw) - complete > LARGEST_EVENT:
            self._oversized = True
            return raw
        self._held = raw[complete:]
        return raw[:complete]

    def _end(self, deltas: list[Delta]) -> bytes:
        held, self._held = self._held, b""
        return held

    def fail(self, message: str) -> bytes | None:
        event = _error_event(self.url, message)
        self._held = b""
        if event is None or self._is_stream is False:
            return None
        return b"\n\n" + event if self._oversized else event


def _error_event(url: str, message: str) -> bytes | None:
    """How each API reports in a stream that it failed, as the vendors' SDKs understand it."""
    path = url.partition("?")[0].partition("#")[0]
    openai: dict[str, Any] = {"message": message, "type": "server_error"}
    openai |= {"param": None, "code": "stream_interrupted"}
    if path.endswith("/completions"):
        return _event({"error": openai})
    if path.endswith("/responses"):
        # The documented members, and the one by which the SDKs notice.
        return b"event: error\n" + _event({**openai, "type": "error", "error": openai})
    if path.endswith("/v1/messages"):
        error = {"type": "api_error", "message": message}
        return b"event: error\n" + _event({"type": "error", "error": error})
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return _event({"error": {"code": 502, "message": message, "status": "UNAVAILABLE"}})
    return None


def _event(data: dict[str, Any]) -> bytes:
    document = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {document}\n\n".encode(errors="replace")


class Tool:
    def __init__(self, start: ToolStart, id: str) -> None:
        self.id = id
        self.name = start.name
        self.takes_text = start.takes_text
        self.fragments: list[str] = []
        self.complete = False


class UiMessageStream(Translator):
    """One assistant message of one step: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol"""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun = False
        self._over = False
        self._open = ""
        self._blocks = 0
        self._tools: list[Tool] = []
        self._sources: list[str] = []

    def fail(self, message: str) -> bytes:
        if self._over:
            return b""
        self._over = True
        return self._error(message)

    def _written(self, raw: bytes, deltas: list[Delta]) -> bytes:
        if not self._deltas.is_understood:
            return b""
        return (self._begin() if raw else b"") + b"".join(map(self._tell, deltas))

    def _end(self, deltas: list[Delta]) -> bytes:
        if not self._deltas.is_understood:
            return b""
        written = self._begin() + b"".join(map(self._tell, deltas))
        if self._over:
            return written
        self._over = True
        if self.finish_reason is None:
            return written + self._error(INCOMPLETE)
        written += self._close() + b"".join(map(self._end_tool, self._tools))
        finish: dict[str, Any] = {"type": "finish", "finishReason": self.finish_reason}
        if self.usage:
            finish["messageMetadata"] = {"usage": _usage(self.usage)}
        return written + _event({"type": "finish-step"}) + _event(finish) + b"data: [DONE]\n\n"

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        # The client names the message: one answer may serve many, and names in a chat must differ.
        return _event({"type": "start"}) + _event({"type": "start-step"})

    def _tell(self, delta: Delta) -> bytes:
        match delta:
            case _ if self._over:
                return b""
            case Text(text):
                return self._block("text", text)
            case Reasoning(text):
                return self._block("reasoning", text)
            case BlockEnd():
                return self._close()
            case ToolStart():
                return self._begin_tool(delta)
            case ToolInput(call, fragment):
                return self._input(self._tools[call], fragment)
            case ToolEnd(call):
                return self._end_tool(self._tools[call])
            case Source(url, title):
                return self._source(url, title)
            case Failure(message):
                self._over = True
                return self._error(message)
        return b""

    def _block(self, kind: str, text: str) -> bytes:
        before = b""
        if self._open != kind:
            before = self._close()
            self._open = kind
            self._blocks += 1
            before += _event({"type": f"{kind}-start", "id": str(self._blocks)})
        return before + _event({"type": f"{kind}-delta", "id": str(self._blocks), "delta": text})

    def _close(self) -> bytes:
        kind, self._open = self._open, ""
        return _event({"type": f"{kind}-end", "id": str(self._blocks)}) if kind else b""

    def _begin_tool(self, start: ToolStart) -> bytes:
        tool = Tool(start, start.id or f"call_{len(self._tools)}")
        self._tools.append(tool)
        part = {"type": "tool-input-start", "toolCallId": tool.id, "toolName": tool.name}
        if tool.takes_text:
            part["inputEncoding"] = "text"
        return self._close() + _event(part)

    def _input(self, tool: Tool, fragment: str) -> bytes:
        if tool.complete:
            return b""
        tool.fragments.append(fragment)
        part = {"type": "tool-input-delta", "toolCallId": tool.id, "inputTextDelta": fragment}
        return _event(part)

    def _end_tool(self, tool: Tool) -> bytes:
        if tool.complete:
            return b""
        tool.complete = True
        given = "".join(tool.fragments)
        part = {"type": "tool-input-available", "toolCallId": tool.id, "toolName": tool.name}
        if tool.takes_text:
            return _event({**part, "input": given})
        value = parse((given or "{}").encode(errors="replace"))
        if value is None and given.strip() != "null":
            part["type"] = "tool-input-error"
            error = "The input of the tool is not valid JSON."
            return _event({**part, "input": given, "errorText": error})
        return _event({**part, "input": value})

    def _source(self, url: str, title: str) -> bytes:
        if url in self._sources or len(self._sources) == MOST_SOURCES:
            return b""
        self._sources.append(url)
        id = f"source-{len(self._sources)}"
        part = {"type": "source-url", "sourceId": id, "url": url}
        return _event({**part, "title": title} if title else part)

    def _error(self, message: str) -> bytes:
        self.error = message
        return _event({"type": "error", "errorText": message})


def _usage(tokens: dict[str, int]) -> dict[str, int]:
    """In the words of the AI SDK."""
    return {
        "inputTokens": tokens["input"],
        "outputTokens": tokens["output"],
        "totalTokens": tokens["input"] + tokens["output"],
        "cachedInputTokens": tokens["cached_input"],
    }
