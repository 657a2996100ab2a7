"""Calls models through the vendors' own SDKs and prints what they made of answers and errors; run with the chat
project's Python.

Standard input: {"base", "ask": [{"api": "openai" or "anthropic", "key", "prompt", "model", "stream", ...}]}; further
members are parameters of the call. Standard output: for each its "text", or its "error" with status, message, body.
"""

from __future__ import annotations

import json
import sys

import anthropic
import openai


def by_openai(client, stream, **arguments):
    answer = client.chat.completions.create(stream=stream, **arguments)
    chunks = answer if stream else [answer]
    pieces = [choice.delta if stream else choice.message for chunk in chunks for choice in chunk.choices]
    return "".join(piece.content or "" for piece in pieces)


def by_anthropic(client, stream, **arguments):
    arguments = {"max_tokens": 512, **arguments}
    if stream:
        with client.messages.stream(**arguments) as events:
            return events.get_final_text()
    return "".join(block.text for block in client.messages.create(**arguments).content)


def main():
    told = json.load(sys.stdin)
    base, patience = told["base"], {"max_retries": 0, "timeout": 30.0}
    of_openai = openai.OpenAI(base_url=f"{base}/openai/v1", api_key="none", **patience)
    of_anthropic = anthropic.Anthropic(base_url=f"{base}/anthropic", auth_token="none", **patience)
    answers = []
    for asked in told["ask"]:
        key = asked.pop("key")
        if asked.pop("api") == "openai":
            function, client = by_openai, of_openai.with_options(api_key=key)
        else:
            function, client = by_anthropic, of_anthropic.with_options(auth_token=key)
        messages = [{"role": "user", "content": asked.pop("prompt")}]
        try:
            answers.append({"text": function(client, asked.pop("stream"), messages=messages, **asked)})
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            answers.append({"error": {"status": error.status_code, "message": str(error), "body": error.body}})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
