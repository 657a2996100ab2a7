"""A server that speaks the APIs of three providers: it answers with what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERROR = {"error": {"type": "server_error", "message": "out of order"}}


class Provider:
    """Counts what reaches it. `status` makes it fail."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.extra_headers: dict[str, str] = {}
        # Statuses of the next answers, before `status`.
        self.statuses: list[int] = []
        # Streams wait for it after their first event.
        self.gate: threading.Event | None = None
        # Streams end after so many events, without their end.
        self.breaks_after: int | None = None
        # Whether they are whole for HTTP then.
        self.ends_well = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.provider = self
        # Clients that leave are part of the tests.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def reset(self) -> None:
        self.prompts.clear()
        self.headers.clear()
        self.status = 200
        self.statuses.clear()
        self.extra_headers.clear()
        self.gate = None
        self.breaks_after = None
        self.ends_well = False

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        provider = self.server.provider
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            document = json.loads(body)
        except ValueError:
            document = {"raw": body.decode("latin-1")}
        prompt = prompt_of(document)
        provider.prompts.append(prompt)
        provider.headers.append({name.lower(): value for name, value in self.headers.items()})
        status = provider.statuses.pop(0) if provider.statuses else provider.status
        if status != 200:
            self._send(status, "application/json", json.dumps(ERROR))
        elif provider.gate is not None or provider.breaks_after is not None:
            self._stream(provider, list(events(self.path, prompt)))
        elif document.get("stream") or "stream" in self.path:
            self._send(200, "text/event-stream", "".join(events(self.path, prompt)))
        else:
            self._send(200, "application/json", json.dumps(answer(self.path, prompt)))

    do_GET = do_PUT = do_POST

    def _send(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "seen=1")
        for name, value in self.server.provider.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, provider: Provider, pieces: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, piece in enumerate(pieces):
            if number == provider.breaks_after:
                self.close_connection = True
                if provider.ends_well:
                    break
                return
            if number == 1 and provider.gate is not None:
                provider.gate.wait(10)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece.encode()))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


def prompt_of(document: dict) -> str:
    if "messages" in document:
        return document["messages"][-1]["content"]
    if "contents" in document:
        return document["contents"][-1]["parts"][0]["text"]
    return document.get("prompt", document.get("raw", ""))


def answer(path: str, prompt: str) -> dict:
    text = f"echo: {prompt}"
    if path.endswith("/messages"):
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 2},
        }
    if "generateContent" in path:
        content = {"role": "model", "parts": [{"text": text}]}
        return {"candidates": [{"content": content, "finishReason": "STOP"}]}
    if path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        }
    return {"text": text}


def events(path: str, prompt: str) -> Iterator[str]:
    parts = ["echo: ", prompt]
    if path.endswith("/messages"):
        yield from anthropic_events(parts)
    elif "GenerateContent" in path:
        for part in parts:
            content = {"role": "model", "parts": [{"text": part}]}
            end = {"finishReason": "STOP"} if part is parts[-1] else {}
            yield sse({"candidates": [{"content": content, **end}]})
    else:
        for part in parts:
            reason = "stop" if part is parts[-1] else None
            choice = {"index": 0, "delta": {"content": part}, "finish_reason": reason}
            yield sse(
                {
                    "id": "chatcmpl-1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "m",
                    "choices": [choice],
                }
            )
        yield "data: [DONE]\n\n"


def anthropic_events(parts: list[str]) -> Iterator[str]:
    message = answer("/messages", "") | {"content": [], "stop_reason": None}
    yield sse({"type": "message_start", "message": message})
    block = {"type": "text", "text": ""}
    yield sse({"type": "content_block_start", "index": 0, "content_block": block})
    for part in parts:
        delta = {"type": "text_delta", "text": part}
        yield sse({"type": "content_block_delta", "index": 0, "delta": delta})
    yield sse({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield sse({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}})
    yield sse({"type": "message_stop"})


def sse(data: dict) -> str:
    event = f"event: {data['type']}\n" if "type" in data else ""
    return f"{event}data: {json.dumps(data)}\n\n"
