"""Scripted providers: what they answer, and when."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import raw_http
from harness.steps import Answer, Pairs, Step, head

if TYPE_CHECKING:
    from harness.scripted_worker import Link, Received
    from harness.simulated_llm import SimulatedLLM

JSON = [("Content-Type", "application/json")]
EVENTS = [("Content-Type", "text/event-stream; charset=utf-8")]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"


@dataclass
class Gate(Step):
    """A gate before the simulated LLM: requests wait at it until it is opened. Answers are passed on whole."""

    llm: SimulatedLLM
    opened: threading.Event

    def play(self, received: Received, link: Link) -> bool:
        link.hold(self.opened)
        dropped = {"host", "connection", "content-length", "transfer-encoding"}
        headers = [(name, value) for name, value in received.headers if name.lower() not in dropped]
        answer = raw_http.request(self.llm.address, received.method, received.target, headers, received.content)
        headers = [(name, value) for name, value in answer.headers if name.lower() not in dropped]
        return Answer(answer.status, answer.body, headers).play(received, link)


@dataclass
class Speak(Step):
    """Sends a stream piece by piece, each when its event is set, then ends it, or breaks off."""

    pieces: Sequence[tuple[threading.Event | None, bytes]]
    breaks_off: bool = False
    headers: Pairs = tuple(EVENTS)

    def play(self, received: Received, link: Link) -> bool:
        link.send(head(200, [*self.headers, ("Transfer-Encoding", "chunked")]))
        for event, piece in self.pieces:
            if event:
                link.hold(event)
            link.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        link.finishing()
        if not self.breaks_off:
            link.send(b"0\r\n\r\n")
        return False


def completion(text: str | None, *, finish: str = "stop", **message: Any) -> bytes:
    """A plain chat completion of OpenAI's."""
    said = {"role": "assistant", "content": text, "refusal": None, **message}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", **_TOP, "choices": [choice], "usage": USAGE}).encode()


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """An event of a streamed chat completion."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event({"id": "chatcmpl-1", **_TOP, "object": "chat.completion.chunk", "choices": [choice], "usage": None})


def usage_chunk() -> bytes:
    """The event with a stream's usage."""
    return event({"id": "chatcmpl-1", **_TOP, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})


def event(data: Any) -> bytes:
    """An event that has only data."""
    return f"data: {json.dumps(data)}\n\n".encode()


def stream_of(*texts: str) -> list[bytes]:
    """The events of a whole stream."""
    first = chunk({"role": "assistant", "content": ""})
    return [first, *(chunk({"content": text}) for text in texts), chunk({}, "stop"), usage_chunk(), DONE]


def read_events(body: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events; the stream must be complete."""
    *events, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b""), body[-200:]
    return [json.loads(block.removeprefix(b"data: ")) for block in events]


def text_of(events: Iterable[dict[str, Any]]) -> str:
    """What the chunks say together."""
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def usages(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The usage that a stream reports."""
    return [event["usage"] for event in events if event.get("usage")]


_TOP = {"object": "chat.completion", "created": 1_790_000_000, "model": "gpt-4o-mini"}
