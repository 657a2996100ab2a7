"""Calls as the library would hand them over, and what a client reads of an exchange."""

from __future__ import annotations

import json
from typing import Any

from harness.raw_http import Response
from harness.scripted_worker import digest_of

KEY = "sk-app-credential-that-no-client-may-see"


def chat(base: str, prompt: str, **changes: Any) -> dict[str, Any]:
    """A chat completion; `changes` replace members."""
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]})
    target = f"{base}/v1/chat/completions"
    call = {
        "seq": 0,
        "name": "app/views.py:chat:42#0",
        "method": "POST",
        "url": target,
        "headers": [["content-type", "application/json"], ["authorization", f"Bearer {KEY}"]],
        "body": body,
        "digest": digest_of("POST", target, body),
        **changes,
    }
    return {name: value for name, value in call.items() if value is not None}


def told(response: Response) -> dict[str, Any]:
    """What a worker that tells what it was sent has told."""
    assert response.status == 200, (response.status, response.body)
    return json.loads(response.body)


def entry(response: Response) -> dict[str, Any]:
    """The only journal entry that a worker was sent."""
    [only] = told(response)["journal"]
    return only


def assert_problem(response: Response, status: int, word: str) -> dict[str, Any]:
    """A problem document of this kind, which says what to do and gives nothing else away."""
    assert (response.status, response.header("content-type")) == (status, "application/problem+json"), response
    assert response.header("cache-control") == "no-store"
    problem = json.loads(response.body)
    assert problem["type"] == f"urn:siding:problem:{word}", problem
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert set(problem) <= {"type", "title", "status", "detail", "exchange", "trace_id", "error"}
    if "error" in problem:
        assert set(problem["error"]) == {"message", "type", "code"}
        assert problem["error"]["code"] == word
        assert problem["detail"] in problem["error"]["message"]
    assert_nothing_leaked(response)
    return problem


def assert_nothing_leaked(response: Response) -> None:
    """Nothing of a call and no header of the hand-off reached the client."""
    assert KEY.encode() not in response.raw
    assert b"vnd.siding.call" not in response.raw.lower()
    assert not [name for name, _ in response.headers if name.lower().startswith("siding-")]
