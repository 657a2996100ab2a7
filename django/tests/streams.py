"""Streaming calls, each the way its library has them: what `relay()` is given."""

from __future__ import annotations

import json

import anthropic
import httpx
import openai
import requests
import urllib3
from google import genai

MESSAGES = [{"role": "user", "content": "hello"}]
BODY = {"model": "m", "messages": MESSAGES, "stream": True}
PATH = "/v1/chat/completions"


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="key")


def openai_create(url: str):
    return openai_client(url).chat.completions.create(**BODY)


def openai_stream(url: str):
    return openai_client(url).chat.completions.stream(model="m", messages=MESSAGES)


def anthropic_create(url: str):
    client = anthropic.Anthropic(base_url=url, api_key="key")
    return client.messages.create(max_tokens=9, **BODY)


def anthropic_stream(url: str):
    client = anthropic.Anthropic(base_url=url, api_key="key")
    return client.messages.stream(model="m", max_tokens=9, messages=MESSAGES)


def gemini_stream(url: str):
    client = genai.Client(api_key="key", http_options=genai.types.HttpOptions(base_url=url))
    # Its client closes itself when it is let go, and nothing has been asked by then.
    yield from client.models.generate_content_stream(model="m", contents="hello")


def by_httpx(url: str):
    return httpx.stream("POST", url + PATH, json=BODY)


def by_requests(url: str):
    return requests.post(url + PATH, json=BODY, stream=True)


def by_urllib3(url: str):
    return urllib3.request("POST", url + PATH, json=BODY, preload_content=False)


# How to read each one's text from what it returned.
READERS = {
    openai_create: lambda stream: [chunk.choices[0].delta.content for chunk in stream],
    openai_stream: lambda stream: [
        event.delta for event in stream if event.type == "content.delta"
    ],
    anthropic_create: lambda stream: [
        event.delta.text for event in stream if event.type == "content_block_delta"
    ],
    anthropic_stream: lambda stream: stream.text_stream,
    gemini_stream: lambda stream: [chunk.text for chunk in stream],
    by_httpx: lambda stream: contents(stream.iter_lines()),
    by_requests: lambda stream: contents(line.decode() for line in stream.iter_lines()),
    by_urllib3: lambda stream: contents(stream.read().decode().splitlines()),
}
ALL = list(READERS)


def contents(lines) -> list[str]:
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    return [json.loads(each)["choices"][0]["delta"]["content"] for each in data]


def read(call, stream) -> str:
    return "".join(READERS[call](stream))
