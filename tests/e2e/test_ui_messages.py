"""The `ai` package, unmodified, reads what `relay(format="ui-message-stream")` of the chat project sends, whichever
the provider is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import chat_project
import pytest
from chat_project import Chat, is_answer_to
from harness.waiting import until
from sdk_outcomes import run

LIBRARIES = ["", "anthropic/", "gemini/"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """On the newest Django, behind Siding."""
    python = list(chat_project.pythons().values())[-1]
    directory = tmp_path_factory.mktemp("ui")
    with chat_project.running(directory, server="gunicorn-sync", python=python, behind_siding=True) as running:
        yield running


def read(chat: Chat, library: str, prompt: str) -> dict[str, Any]:
    """What the package makes of an answer."""
    asked = {
        "api": f"{chat.url}/api/relay/{library}",
        "headers": {"Authorization": f"Token {chat.backend.token}"},
        "body": {"prompt": prompt, "format": "ui-message-stream"},
    }
    return json.loads(run("ui_messages.mjs", asked))


def text_of(message: dict[str, Any]) -> str:
    """What a UI message says."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def test_a_relayed_answer_is_the_message_that_is_saved(chat: Chat) -> None:
    for library in LIBRARIES:
        prompt = f"a message of {library or 'the first'}"
        told = read(chat, library, prompt)
        assert told["failure"] is None
        assert told["message"]["role"] == "assistant"
        assert (told["kinds"][0], told["kinds"][-1]) == ("start", "finish")
        assert told["kinds"].count("text-delta") > 1
        said = text_of(told["message"])
        assert is_answer_to(prompt, said)
        # It is saved after the client has had it.
        until("both messages", lambda prompt=prompt: len(chat.rows(prompt)) == 2)
        assert chat.rows(prompt)[1] == ("assistant", said)


def test_an_answer_that_breaks_off_is_an_error_and_no_end(chat: Chat) -> None:
    for library in LIBRARIES:
        told = read(chat, library, f"[reset-body] {library}")
        assert told["failure"]
        assert told["kinds"][-1] == "error"
        assert "finish" not in told["kinds"]
