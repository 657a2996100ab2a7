"""LangChain's chat models of OpenAI and Anthropic. See `asking`."""

from __future__ import annotations

from typing import Any

import asking
from asking import SCHEMA, Case, Forecast
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

TOOL = {"title": "weather", "description": "The weather of a city.", **SCHEMA}


def of_openai(case: Case) -> Any:
    return ask(case, ChatOpenAI(model="gpt-4.1-mini", base_url=f"{case.bases['openai']}/v1", **case.patience))


def of_anthropic(case: Case) -> Any:
    where = {"base_url": case.bases["anthropic"], "max_tokens": 512}
    return ask(case, ChatAnthropic(model="claude-sonnet-4-5", **where, **case.patience))


def ask(case: Case, model: BaseChatModel) -> Any:
    if case.form == "structured":
        return model.with_structured_output(Forecast).invoke(case.prompt)
    asked: Any = model.bind_tools([TOOL]) if case.form.startswith("tool") else model
    if "stream" not in case.form:
        return asked.invoke(case.prompt)
    chunks = list(asked.stream(case.prompt))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {"chunks": chunks, "message": whole}


if __name__ == "__main__":
    asking.main({"openai": of_openai, "anthropic": of_anthropic})
