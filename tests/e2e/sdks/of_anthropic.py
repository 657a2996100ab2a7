"""The anthropic package: messages, blocking and async. See `asking`."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import asking
from asking import SCHEMA, Case, Forecast


def messages(case: Case) -> Any:
    api = anthropic.Anthropic(base_url=case.bases["anthropic"], **case.patience).messages
    asked = arguments(case)
    if case.form == "structured":
        message = api.parse(**asked, output_format=Forecast)
        return {"message": message, "parsed": message.parsed_output}
    if "stream" not in case.form:
        message = api.create(**asked)
        return {"message": message, "request": message._request_id}
    with api.stream(**asked) as events:
        return {"events": list(events), "message": events.get_final_message()}


def in_async(case: Case) -> Any:
    async def run() -> Any:
        async with anthropic.AsyncAnthropic(base_url=case.bases["anthropic"], **case.patience) as asynchronous:
            answer: Any = await asynchronous.messages.create(**arguments(case), stream=case.form == "stream")
            return [event async for event in answer] if case.form == "stream" else answer

    return asyncio.run(run())


def arguments(case: Case) -> dict[str, Any]:
    asked = [{"role": "user", "content": case.prompt}]
    tools = [{"name": "weather", "input_schema": SCHEMA}] if case.form.startswith("tool") else []
    more = {"tools": tools} if tools else {}
    return {"model": "claude-sonnet-4-5", "max_tokens": 512, "messages": asked, **more}


if __name__ == "__main__":
    asking.main({"messages": messages, "async": in_async})
