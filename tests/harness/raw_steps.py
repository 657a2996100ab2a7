"""Steps for what WSGI cannot do: upgrades and answers that come before the request is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.steps import Answer, Step, head

if TYPE_CHECKING:
    from harness.scripted_worker import Link, Received


@dataclass
class UpgradeAndEcho(Step):
    """Switches protocols and sends back whatever comes, until the other side closes."""

    greeting: bytes = b""

    def play(self, received: Received, link: Link) -> bool:
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "x")]
        link.send(head(101, headers, "Switching Protocols") + self.greeting)
        link.finishing()
        while data := link.stream.recv(1 << 16):
            link.send(data)
        return False


@dataclass
class AnswerBeforeTheBody(Answer):
    """Answers as soon as the head is there, then reads on and discards, so that no reset eats the answer."""

    reads_body = False

    def play(self, received: Received, link: Link) -> bool:
        super().play(received, link)
        try:
            while link.stream.recv(1 << 18):
                pass
        except OSError:
            pass
        return False
