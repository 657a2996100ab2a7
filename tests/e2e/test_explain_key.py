"""`siding explain-key` says whether two calls share an answer, and if not, where they differ."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.siding import BINARY

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "secret prompt"}], "temperature": 1}


@pytest.fixture
def explain(tmp_path: Path):
    """Runs it on two bodies."""

    def run(one: Any, other: Any, config: str = "") -> subprocess.CompletedProcess[str]:
        paths = [tmp_path / "one.json", tmp_path / "other.json"]
        for path, body in zip(paths, (one, other), strict=True):
            path.write_text(body if isinstance(body, str) else json.dumps(body))
        settings = tmp_path / "siding.toml"
        settings.write_text(config)
        command = [str(BINARY), "explain-key", "--config", str(settings), *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, timeout=10)

    return run


def test_bodies_that_mean_the_same_share_and_have_one_key(explain):
    other = dict(reversed(BODY.items())) | {"user": "somebody", "stream": True, "metadata": {"a": "b"}}
    said = explain(BODY, other)
    assert said.returncode == 0
    keys = [line.split()[0] for line in said.stdout.splitlines()[:2]]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 64
    assert "they share an answer" in said.stdout


def test_every_difference_is_named_by_its_place_and_no_prompt_is_shown(explain):
    other = BODY | {"temperature": 1.0, "messages": [{"role": "user", "content": "Secret prompt"}], "seed": 1}
    said = explain(BODY, other)
    assert said.returncode == 0
    assert said.stdout.splitlines()[3:] == [
        "they do not share an answer",
        "  /messages/0/content: different text",
        "  /seed: only in the second",
        "  /temperature: 1 against 1.0",
    ]
    assert "ecret prompt" not in said.stdout


def test_what_is_ignored_comes_from_the_configuration(explain):
    other = BODY | {"user": "somebody"}
    assert "they do not share" in explain(BODY, other, 'cache = { ignore = ["seed"] }\n').stdout
    assert "they share" in explain(BODY, BODY | {"seed": 1}, 'cache = { ignore = ["seed"] }\n').stdout


@pytest.mark.parametrize("body", ["", "[1]", "{"])
def test_what_is_no_json_object_is_named(body, explain):
    said = explain(body, BODY)
    assert said.returncode == 64
    assert "one.json is not a JSON object" in said.stderr
