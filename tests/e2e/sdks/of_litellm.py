"""LiteLLM as a library, before each of the three APIs. See `asking`."""

from __future__ import annotations

import functools
from typing import Any

import asking
import litellm
from asking import SCHEMA, Case, Forecast

TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
MODELS = {
    "openai": ("openai/gpt-4.1-mini", "/v1"),
    "anthropic": ("anthropic/claude-sonnet-4-5", ""),
    "gemini": ("gemini/gemini-2.5-flash", "/v1beta"),
}


def ask(case: Case, dialect: str) -> Any:
    model, version = MODELS[dialect]
    arguments: dict[str, Any] = {"tools": [TOOL]} if case.form.startswith("tool") else {}
    if case.form == "structured":
        arguments["response_format"] = Forecast
    answer = litellm.completion(
        model=model,
        messages=[{"role": "user", "content": case.prompt}],
        api_base=case.bases[dialect] + version,
        api_key=case.key,
        timeout=case.timeout,
        num_retries=case.retries,
        max_retries=case.retries,
        extra_headers=case.headers,
        stream="stream" in case.form,
        **arguments,
    )
    if "stream" not in case.form:
        return answer
    chunks = list(answer)
    return {"chunks": chunks, "completion": litellm.stream_chunk_builder(chunks)}


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    asking.main({dialect: functools.partial(ask, dialect=dialect) for dialect in MODELS})
