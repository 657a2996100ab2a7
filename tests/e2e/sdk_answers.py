"""Asks through the vendors' own SDKs and prints what they made of the answers; run with the chat project's Python.

Standard input: {"base": URL of the egress, "ask": [{"api", "prompt", "stream", "tool"}, ...], "together": whether
all at once}. Standard output: a list with the final answer of each: text, tool calls, usage, finish reason, id.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
from google import genai
from google.genai import types

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TIMEOUT_SECONDS = 30.0


def openai_chat(client, prompt, stream, tool):
    function = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    arguments = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": prompt}]}
    arguments |= {"tools": [function]} if tool else {}
    if stream:
        # The SDK's own accumulator makes a completion of the chunks.
        with client.chat.completions.stream(**arguments, stream_options={"include_usage": True}) as chunks:
            completion = chunks.get_final_completion()
    else:
        completion = client.chat.completions.create(**arguments)
    [choice] = completion.choices
    calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
    return _answer(completion.id, choice.message.content, calls, completion.usage, choice.finish_reason)


def openai_responses(client, prompt, stream, tool):
    function = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    arguments = {"model": "gpt-4.1-mini", "input": prompt, **({"tools": [function]} if tool else {})}
    if stream:
        *_, last = client.responses.create(**arguments, stream=True)
        response = last.response
    else:
        response = client.responses.create(**arguments)
    calls = [(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"]
    return _answer(response.id, response.output_text, calls, response.usage, response.status)


def anthropic_messages(client, prompt, stream, tool):
    arguments = {"model": "claude-sonnet-4-5", "max_tokens": 512, "messages": [{"role": "user", "content": prompt}]}
    arguments |= {"tools": [{"name": "weather", "input_schema": SCHEMA}]} if tool else {}
    if stream:
        with client.messages.stream(**arguments) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**arguments)
    text = "".join(block.text for block in message.content if block.type == "text")
    calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
    return _answer(message.id, text, calls, message.usage, message.stop_reason)


def gemini(client, prompt, stream, tool):
    function = types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])] if tool else None)
    config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    arguments = {"model": "gemini-2.5-flash", "contents": prompt, "config": config}
    models = client.models
    pieces = list(models.generate_content_stream(**arguments)) if stream else [models.generate_content(**arguments)]
    parts = [part for piece in pieces for part in piece.candidates[0].content.parts or []]
    calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
    text, last = "".join(part.text or "" for part in parts), pieces[-1]
    return _answer(last.response_id, text, calls, last.usage_metadata, last.candidates[0].finish_reason.value)


def _answer(identity, text, calls, usage, finish):
    usage = usage.model_dump(mode="json", exclude_none=True)
    return {"id": identity, "text": text or "", "calls": calls, "usage": usage, "finish": finish}


def main():
    told = json.load(sys.stdin)
    base = told["base"]
    patience = {"max_retries": 0, "timeout": TIMEOUT_SECONDS}
    of_openai = openai.OpenAI(base_url=f"{base}/openai/v1", api_key="sk-test", **patience)
    of_anthropic = anthropic.Anthropic(base_url=f"{base}/anthropic", api_key="sk-test", **patience)
    of_google = genai.Client(api_key="test", http_options=types.HttpOptions(base_url=f"{base}/gemini"))
    apis = {
        "openai chat": (openai_chat, of_openai),
        "openai responses": (openai_responses, of_openai),
        "anthropic": (anthropic_messages, of_anthropic),
        "gemini": (gemini, of_google),
    }

    def ask(asked):
        function, client = apis[asked["api"]]
        return function(client, asked["prompt"], asked["stream"], asked["tool"])

    with ThreadPoolExecutor(len(told["ask"]) if told["together"] else 1) as threads:
        json.dump(list(threads.map(ask, told["ask"])), sys.stdout)


if __name__ == "__main__":
    main()
