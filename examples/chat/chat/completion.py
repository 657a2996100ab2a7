"""A prompt in, an answer out, whole or as a stream: one function for each way to call a model."""

from __future__ import annotations

from typing import Any

import openai

from chat import providers

Messages = list[dict[str, str]]


def by_openai(messages: Messages, client: openai.OpenAI | None = None) -> str:
    """The OpenAI SDK, Chat Completions; with the process's client unless there is another."""
    client = client or providers.openai_client()
    completion = client.chat.completions.create(model=providers.OPENAI_MODEL, messages=messages)
    return completion.choices[0].message.content or ""


async def by_async_openai(messages: Messages) -> str:
    """The OpenAI SDK's async client."""
    client = providers.async_openai_client()
    completion = await client.chat.completions.create(model=providers.OPENAI_MODEL, messages=messages)
    return completion.choices[0].message.content or ""


def by_anthropic(messages: Messages) -> str:
    """The Anthropic SDK, Messages."""
    message = providers.anthropic_client().messages.create(
        model=providers.ANTHROPIC_MODEL, max_tokens=providers.MAX_TOKENS, messages=messages
    )
    return "".join(block.text for block in message.content if block.type == "text")


def by_gemini(messages: Messages) -> str:
    """The Google GenAI SDK, generateContent."""
    response = providers.gemini_client().models.generate_content(
        model=providers.GEMINI_MODEL, contents=_contents(messages)
    )
    return response.text or ""


def by_requests(messages: Messages) -> str:
    """requests, no SDK."""
    response = providers.requests_session().post(
        _url(), json=_body(messages), headers=_headers(), timeout=providers.TIMEOUT_SECONDS
    )
    response.raise_for_status()
    return response.json()["choices"][0]["message"]["content"]


def by_httpx(messages: Messages) -> str:
    """httpx, no SDK."""
    response = providers.httpx_client().post(_url(), json=_body(messages), headers=_headers())
    response.raise_for_status()
    return response.json()["choices"][0]["message"]["content"]


def stream_by_openai(messages: Messages) -> Any:
    """The OpenAI SDK's stream of chunks."""
    return providers.openai_client().chat.completions.create(
        model=providers.OPENAI_MODEL, messages=messages, stream=True
    )


def stream_by_anthropic(messages: Messages) -> Any:
    """The Anthropic SDK's stream of events."""
    return providers.anthropic_client().messages.create(
        model=providers.ANTHROPIC_MODEL, max_tokens=providers.MAX_TOKENS, messages=messages, stream=True
    )


def stream_by_gemini(messages: Messages) -> Any:
    """The Google GenAI SDK's stream, which asks the model when it is first read."""
    return providers.gemini_client().models.generate_content_stream(
        model=providers.GEMINI_MODEL, contents=_contents(messages)
    )


def _contents(messages: Messages) -> list[dict[str, Any]]:
    """The messages as Gemini has them."""
    return [
        {"role": "model" if message["role"] == "assistant" else "user", "parts": [{"text": message["content"]}]}
        for message in messages
    ]


def _url() -> str:
    return f"{providers.openai_base_url()}/chat/completions"


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {providers.openai_key()}"}


def _body(messages: Messages) -> dict[str, Any]:
    return {"model": providers.OPENAI_MODEL, "messages": messages}
