"""A prompt in, an answer out: one function for each way to call a model."""

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
    contents = [
        {"role": "model" if message["role"] == "assistant" else "user", "parts": [{"text": message["content"]}]}
        for message in messages
    ]
    response = providers.gemini_client().models.generate_content(model=providers.GEMINI_MODEL, contents=contents)
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


def _url() -> str:
    return f"{providers.openai_base_url()}/chat/completions"


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {providers.openai_key()}"}


def _body(messages: Messages) -> dict[str, Any]:
    return {"model": providers.OPENAI_MODEL, "messages": messages}
