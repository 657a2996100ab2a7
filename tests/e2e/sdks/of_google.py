"""The google-genai package: content and embeddings. See `asking`."""

from __future__ import annotations

from typing import Any

import asking
from asking import SCHEMA, Case, Forecast
from google import genai
from google.genai import types


def content(case: Case) -> Any:
    with client(case) as models:
        arguments: dict[str, Any] = {"model": "gemini-2.5-flash", "contents": case.prompt, "config": config(case)}
        if "stream" in case.form:
            return {"chunks": list(models.models.generate_content_stream(**arguments))}
        response = models.models.generate_content(**arguments)
        return {"response": response, "parsed": response.parsed}


def embeddings(case: Case) -> Any:
    with client(case) as models:
        wanted = types.EmbedContentConfig(output_dimensionality=8)
        return models.models.embed_content(model="gemini-embedding-001", contents=[case.prompt], config=wanted)


def config(case: Case) -> types.GenerateContentConfig:
    chosen = types.GenerateContentConfig(automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    if case.form.startswith("tool"):
        function = types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)
        chosen.tools = [types.Tool(function_declarations=[function])]
    if case.form == "structured":
        chosen.response_mime_type, chosen.response_schema = "application/json", Forecast
    return chosen


def client(case: Case) -> genai.Client:
    options = types.HttpOptions(
        base_url=case.bases["gemini"], headers=dict(case.headers), timeout=int(case.timeout * 1000)
    )
    return genai.Client(api_key=case.key, http_options=options)


if __name__ == "__main__":
    asking.main({"content": content, "embeddings": embeddings})
