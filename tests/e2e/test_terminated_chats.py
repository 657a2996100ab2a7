"""Terminated routes with a real Django that authorises by token and throttle, and the vendors' SDKs as clients."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import chat_project
import pytest
from chat_project import is_answer_to
from harness.backend import ChatProject
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM

SCRIPT = Path(__file__).with_name("sdk_errors.py")
APIS = {"openai": "gpt-4.1-mini", "anthropic": "claude-sonnet-4-5"}
PROVIDER_KEY = "sk-provider-key-that-no-client-may-see"


@pytest.fixture(params=chat_project.pythons())
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter that has the chat project's requirements."""
    return chat_project.pythons()[request.param]


def started(stack: ExitStack, directory: Path, python: str, llm: SimulatedLLM, **environment: str) -> Any:
    """The chat project with one sync worker, and Siding, which answers /openai and /anthropic itself."""
    environment = {**llm.sdk_environment(), "SIDING_SECRET": SECRET, **environment}
    backend = stack.enter_context(ChatProject(directory, python=python, environment=environment))
    routes = [
        {"path": f"/{api}/**", "terminate": {"provider": api, "authorize": "/internal/llm-auth/", "strip": f"/{api}"}}
        for api in APIS
    ]
    settings = {"routes": routes, "providers": {api: {"api_key_env": "K"} for api in APIS}}
    proxy = Siding(directory, backend.address, llm.providers(), settings, environment={"K": PROVIDER_KEY})
    stack.enter_context(proxy).until_app()
    return proxy, backend


def asked(python: str, proxy: Siding, key: str, *ask: dict[str, Any]) -> list[dict[str, Any]]:
    """What the SDKs made of the answers; `key` is what they send where a call has none of its own."""
    told = json.dumps({"base": proxy.url, "ask": [{"key": key, **call} for call in ask]})
    done = subprocess.run([python, SCRIPT], input=told, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert PROVIDER_KEY not in done.stdout
    return json.loads(done.stdout)


def call(api: str, prompt: str, **more: Any) -> dict[str, Any]:
    """One call."""
    return {"api": api, "prompt": prompt, "stream": False, "model": APIS[api], **more}


def test_the_vendors_sdks_are_answered_with_a_users_token_as_their_key(python, llm, stack, tmp_path):
    proxy, backend = started(stack, tmp_path, python, llm)
    calls = [call(api, f"{api} {stream}", stream=stream) for api in APIS for stream in (False, True)]
    for answer, of in zip(asked(python, proxy, backend.token, *calls), calls, strict=True):
        assert is_answer_to(of["prompt"], answer["text"])
        [request] = llm.asked(of["prompt"])
        assert backend.token not in str(request)
        assert PROVIDER_KEY in str(request["headers"])
    proxy.ended("answered", "terminate", times=len(calls))
    assert 'user="user0"' in proxy.log
    assert proxy.value("siding_authorizations_total", result="granted") == len(calls)


def test_the_vendors_sdks_show_who_refused_and_why(python, llm, stack, tmp_path):
    proxy, backend = started(stack, tmp_path, python, llm)
    model = (403, "You may not call this model", "permission_error", "model-not-allowed")
    output = (400, "Ask for fewer output tokens", "invalid_request_error", "output-limit")
    refusals = [
        ({"model": "other"}, model),
        ({"model": "other", "stream": True}, model),
        ({"max_tokens": 9999}, output),
    ]
    for api in APIS:
        calls = [call(api, "x", **more) for more, _ in refusals]
        *answers, unknown = asked(python, proxy, backend.token, *calls, call(api, "x", key="no-such-token"))
        for answer, (_, (status, text, kind, code)) in zip(answers, refusals, strict=True):
            said, body = answer["error"], answer["error"]["body"]
            shown = body.get("error", body)  # OpenAI's SDK takes it out
            assert (said["status"], shown["type"], shown["code"]) == (status, kind, code)
            assert text in said["message"]
        assert (unknown["error"]["status"], unknown["error"]["body"]) == (401, {"detail": "Invalid token."})
    assert llm.stats()["total"] == 0


def test_a_throttle_of_rest_framework_holds(python, llm, stack, tmp_path):
    proxy, backend = started(stack, tmp_path, python, llm, LLM_RATE="2/day")
    headers = [("Content-Type", "application/json"), ("Authorization", f"Token {backend.token}")]
    body = json.dumps({"model": APIS["openai"], "messages": [{"role": "user", "content": "x"}]}).encode()
    answers = [proxy.request("POST", "/openai/v1/chat/completions", headers, body) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].header("retry-after")
    assert "throttled" in json.loads(answers[2].body)["detail"]
    assert llm.stats()["total"] == 2
