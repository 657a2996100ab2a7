"""The official SDKs understand a relayed stream: its comments in a silence, and its break."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anthropic
import openai
import pytest
from google import genai

from django_siding import formats

CASES = Path(__file__).parents[2] / "tests" / "relay-formats"
MESSAGES = [{"role": "user", "content": "hello"}]


class BrokenRelay(BaseHTTPRequestHandler):
    """Relays half of a case, with what is sent in silences around it, then the error."""

    protocol_version = "HTTP/1.1"
    case = ""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        stream = json.loads((CASES / f"{self.case}.json").read_text())["stream"].encode()
        relayed = formats.translator("provider", f"https://x.example{self.path}")
        # Google's SDK takes a comment for data, but passes over an empty line.
        quiet = b"\n" if self.case.startswith("gemini") else b": keep-alive\n\n"
        half = relayed.feed(stream[: len(stream) // 2])
        body = quiet + half + quiet + relayed.fail("It broke off.")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def relay():
    with ThreadingHTTPServer(("127.0.0.1", 0), BrokenRelay) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def chat(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
    return client.chat.completions.create(model="m", messages=MESSAGES, stream=True)


def responses(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
    return client.responses.create(model="m", input="hello", stream=True)


def messages(url):
    client = anthropic.Anthropic(base_url=url, api_key="key", max_retries=0)
    return client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)


def gemini(url):
    client = genai.Client(api_key="key", http_options=genai.types.HttpOptions(base_url=url))
    # The client closes its connections when it is let go.
    yield from client.models.generate_content_stream(model="m", contents="hello")


def read(stream, seen):
    for event in stream:
        seen.append(event)


@pytest.mark.parametrize(
    ("ask", "case", "error"),
    [
        (chat, "openai-chat-text", openai.APIError),
        (responses, "openai-responses-everything", openai.APIError),
        (messages, "anthropic-everything", anthropic.APIStatusError),
        (gemini, "gemini-everything", genai.errors.ServerError),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_of_the_sdk(relay, monkeypatch, ask, case, error):
    monkeypatch.setattr(BrokenRelay, "case", case)
    seen = []
    with pytest.raises(error, match="It broke off"):
        read(ask(relay), seen)
    assert len(seen) > 1
