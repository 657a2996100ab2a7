"""The openai package: chat completions, responses and embeddings, blocking and async. See `asking`."""

from __future__ import annotations

import asyncio
from typing import Any

import asking
import openai
from asking import SCHEMA, Case, Forecast

MODEL = "gpt-4.1-mini"
FUNCTION = {"name": "weather", "parameters": SCHEMA}


def chat(case: Case) -> Any:
    completions = client(case).chat.completions
    arguments: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": case.prompt}]}
    if case.form.startswith("tool"):
        arguments["tools"] = [{"type": "function", "function": FUNCTION}]
    if case.form == "structured":
        return completions.parse(**arguments, response_format=Forecast)
    if "stream" not in case.form:
        completion = completions.create(**arguments)
        return {"completion": completion, "request": completion._request_id}
    if case.form == "stream with usage":
        arguments["stream_options"] = {"include_usage": True}
    # The SDK's own accumulator makes a completion of the chunks.
    with completions.stream(**arguments) as events:
        chunks = [event.chunk for event in events if event.type == "chunk"]
        return {"chunks": chunks, "completion": events.get_final_completion()}


def responses(case: Case) -> Any:
    api = client(case).responses
    arguments: dict[str, Any] = {"model": MODEL, "input": case.prompt}
    if case.form.startswith("tool"):
        arguments["tools"] = [{"type": "function", "strict": False, **FUNCTION}]
    if case.form == "structured":
        return api.parse(**arguments, text_format=Forecast)
    if "stream" in case.form:
        return {"events": list(api.create(**arguments, stream=True))}
    return {"response": api.create(**arguments)}


def embeddings(case: Case) -> Any:
    return client(case).embeddings.create(model="text-embedding-3-small", input=[case.prompt], dimensions=8)


def in_async(case: Case) -> Any:
    async def run() -> Any:
        async with openai.AsyncOpenAI(base_url=base(case), **case.patience) as asynchronous:
            messages: Any = [{"role": "user", "content": case.prompt}]
            answer: Any = await asynchronous.chat.completions.create(
                model=MODEL, messages=messages, stream=case.form == "stream"
            )
            return [chunk async for chunk in answer] if case.form == "stream" else answer

    return asyncio.run(run())


def client(case: Case) -> openai.OpenAI:
    return openai.OpenAI(base_url=base(case), **case.patience)


def base(case: Case) -> str:
    return f"{case.bases['openai']}/v1"


if __name__ == "__main__":
    asking.main({"chat": chat, "responses": responses, "embeddings": embeddings, "async": in_async})
