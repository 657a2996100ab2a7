"""What a scripted worker does with one request. A script maps a request to one of these."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import signing

if TYPE_CHECKING:
    from harness.scripted_worker import Link, Received

CALL_TYPE = "application/vnd.siding.call+json; v=1"
Pairs = Sequence[tuple[str, str]]


class Step:
    """`play` answers a request and says whether the connection goes on."""

    reads_body = True

    def play(self, received: Received, link: Link) -> bool:
        raise NotImplementedError


def head(status: int, headers: Pairs, reason: str = "Scripted") -> bytes:
    """A response head."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


@dataclass
class Answer(Step):
    """A whole answer."""

    status: int = 200
    body: bytes = b"done"
    headers: Pairs = (("Content-Type", "text/plain"),)
    keep_alive: bool = False

    def play(self, received: Received, link: Link) -> bool:
        connection = "keep-alive" if self.keep_alive else "close"
        framing = [("Content-Length", str(len(self.body))), ("Connection", connection)]
        link.finishing()
        link.send(head(self.status, [*self.headers, *framing]) + (b"" if received.method == "HEAD" else self.body))
        return self.keep_alive


@dataclass
class Tell(Step):
    """Answers with what the worker was sent: its body and its journal, as JSON."""

    def play(self, received: Received, link: Link) -> bool:
        told = {"body": received.body.decode("latin-1"), "pass": received.number, "journal": received.journal}
        return Answer(200, json.dumps(told).encode(), [("Content-Type", "application/json")]).play(received, link)


@dataclass
class HandOver(Step):
    """Hands calls over. By default the document is right and rightly signed; each field spoils one thing."""

    calls: Sequence[dict[str, Any]]
    journal: Sequence[dict[str, Any]] = ()
    v: int = 1
    mode: str = "replay"
    exchange: str | None = None
    number: int | None = None
    document: bytes | None = None
    secret: str = signing.SECRET
    seconds_off: int = 0
    signed: bool = True
    signed_target: str | None = None
    content_type: str = CALL_TYPE
    extra: Pairs = ()
    relay: dict[str, Any] | None = None

    def play(self, received: Received, link: Link) -> bool:
        document = self.document if self.document is not None else self._document(received)
        headers = [("Content-Type", self.content_type), ("Cache-Control", "no-store"), *self.extra]
        if self.signed:
            headers.append(("Siding-Signature", self._signature(received, document)))
        return Answer(202, document, headers).play(received, link)

    def _document(self, received: Received) -> bytes:
        fields = {
            "v": self.v,
            "id": received.exchange if self.exchange is None else self.exchange,
            "pass": received.number if self.number is None else self.number,
            "mode": self.mode,
            "calls": list(self.calls),
            "journal": list(self.journal),
            **({} if self.relay is None else {"relay": self.relay}),
        }
        return json.dumps(fields).encode()

    def _signature(self, received: Received, document: bytes) -> str:
        at = signing.time_of(received.header("siding-signature") or "t=0") + self.seconds_off
        target = self.signed_target or received.target
        arguments = (received.exchange, received.number, received.method, target, document)
        return signing.sign("a2p", *arguments, secret=self.secret, at=at)


@dataclass
class Hang(Step):
    """Does nothing until released, then goes on."""

    release: threading.Event
    then: Step = field(default_factory=Answer)

    def play(self, received: Received, link: Link) -> bool:
        link.hold(self.release)
        return self.then.play(received, link)


@dataclass
class Work(Step):
    """Takes its time, as a view does."""

    seconds: float
    then: Step = field(default_factory=Answer)

    def play(self, received: Received, link: Link) -> bool:
        link.stopping.wait(self.seconds)
        return self.then.play(received, link)


@dataclass
class Close(Step):
    """Ends the connection without an answer, as a killed worker does."""

    reset: bool = False

    def play(self, received: Received, link: Link) -> bool:
        if self.reset:
            link.reset()
        return False


@dataclass
class Raw(Step):
    """Sends bytes as they are, then ends the connection."""

    data: bytes

    def play(self, received: Received, link: Link) -> bool:
        link.send(self.data)
        return False


@dataclass
class CloseMidBody(Step):
    """Announces a body and sends a part of it; by length, or in chunks without the last one."""

    body: bytes = b"half"
    chunked: bool = False
    hold: threading.Event | None = None

    def play(self, received: Received, link: Link) -> bool:
        if self.chunked:
            link.send(head(200, [("Transfer-Encoding", "chunked")]) + b"%x\r\n%s\r\n" % (len(self.body), self.body))
        else:
            link.send(head(200, [("Content-Length", str(2 * len(self.body)))]) + self.body)
        if self.hold:
            link.hold(self.hold)
        return False


@dataclass
class Drip(Step):
    """Sends a body piece by piece until released: a worker that is busy with its answer."""

    release: threading.Event

    def play(self, received: Received, link: Link) -> bool:
        link.send(head(200, [("Transfer-Encoding", "chunked")]))
        while not self.release.wait(0.1) and not link.stopping.is_set():
            link.send(b"4\r\ndrip\r\n")
        link.finishing()
        link.send(b"0\r\n\r\n")
        return False


@dataclass
class Pieces(Step):
    """Sends the head of a chunked answer at once, each piece when its event is set, and the end after the last."""

    pieces: Sequence[tuple[threading.Event, bytes]]
    headers: Pairs = ()

    def play(self, received: Received, link: Link) -> bool:
        link.send(head(200, [*self.headers, ("Transfer-Encoding", "chunked"), ("Connection", "close")]))
        for release, piece in self.pieces:
            link.hold(release)
            link.send(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
        link.finishing()
        link.send(b"0\r\n\r\n")
        return False


@dataclass
class EarlyHints(Step):
    """103 before the answer."""

    then: Step = field(default_factory=Answer)

    def play(self, received: Received, link: Link) -> bool:
        link.send(head(103, [("Link", "</style.css>; rel=preload")], "Early Hints"))
        return self.then.play(received, link)


@dataclass
class AnswerEarly(Answer):
    """Answers without reading the body."""

    reads_body = False


Script = Callable[["Received"], Step]


def always(step: Step) -> Script:
    """The same for every request."""
    return lambda _: step


def in_order(*steps: Step) -> Script:
    """By arrival; the last step for all further requests."""
    return lambda received: steps[min(received.index, len(steps) - 1)]


def by_pass(*steps: Step) -> Script:
    """By the number of the pass; the last step for all further passes."""
    return lambda received: steps[min(received.number, len(steps) - 1)]


def by_path(**scripts: Step | Script) -> Script:
    """By the first segment of the path."""

    def script(received: Received) -> Step:
        chosen = scripts[received.target.lstrip("/").split("/")[0].split("?")[0]]
        return chosen if isinstance(chosen, Step) else chosen(received)

    return script
