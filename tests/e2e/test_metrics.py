"""What metrics say of an app that runs: by its own routes, of its processes, of its pool's size."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from chat_project import pythons
from harness import raw_http
from harness.addresses import free_address, listens
from harness.backend import ChatProject
from harness.calls import KEY, chat
from harness.siding import Siding
from harness.signing import SECRET
from harness.steps import Answer, HandOver, Hang, Tell, by_pass
from harness.waiting import until

PYTHON = list(pythons().values())[-1]


@pytest.fixture
def project(stack: ExitStack, llm, tmp_path):
    """The chat project and Siding before it: `project(settings, *flags of gunicorn)`."""

    def start(settings=None, *flags, workers=2):
        environment = {**llm.sdk_environment(), "SIDING_SECRET": SECRET}
        app = ChatProject(tmp_path, workers=workers, python=PYTHON, environment=environment)
        app.command[-1:-1] = flags
        stack.enter_context(app)
        proxy = stack.enter_context(Siding(tmp_path, app.address, llm.providers(), settings))
        proxy.until_app()
        return app, proxy

    return start


def test_each_view_is_counted_under_its_own_pattern_without_being_configured(project):
    app, proxy = project({"routes": [{"path": "/api/messages/", "class": "batch"}]})
    token = [("Authorization", f"Token {app.token}"), ("Content-Type", "application/json")]
    for number in range(3):
        response = proxy.request("POST", "/api/chat/", token, json.dumps({"prompt": f"x {number}"}).encode())
        assert response.status == 200
        assert response.header("siding-route") is None
        proxy.request("GET", f"/api/status/{404 + number}/", token)
    proxy.request("GET", "/api/messages/", token)
    proxy.request("GET", "/nowhere", token)
    proxy.until_value(3, "siding_requests_total", route="/api/chat/", method="POST", status="2xx")
    proxy.until_value(3, "siding_requests_total", route="/api/status/<int:code>/", method="GET", status="4xx")
    proxy.until_value(1, "siding_requests_total", route="/api/messages/", method="GET", status="2xx")
    proxy.until_value(1, "siding_requests_total", route="other", method="GET", status="4xx")
    assert proxy.value("siding_request_duration_seconds_count", route="/api/chat/") == 3


def test_the_apps_workers_are_found_followed_and_counted_when_they_are_replaced(project):
    app, proxy = project({"backend": {"workers": "auto"}}, workers=3)
    proxy.until_value(3, "siding_workers_limit")
    assert proxy.value("siding_worker_processes") == 3
    memory = [proxy.value("siding_worker_resident_memory_bytes", worker=str(slot)) for slot in range(3)]
    assert min(memory) > 5e6
    assert proxy.value("siding_worker_restarts_total") == 0
    os.kill(app.children()[0], signal.SIGKILL)
    until("a worker in its place", lambda: proxy.value("siding_worker_restarts_total") == 1, 30)
    assert proxy.value("siding_worker_processes") == 3
    os.kill(app.pid, signal.SIGTTIN)  # one more
    until("the pool to follow", lambda: proxy.value("siding_workers_limit") == 4, 30)


def test_gunicorn_is_asked_at_its_control_socket(project, tmp_path):
    control = tmp_path / "gunicorn.ctl"
    _, proxy = project(
        {"backend": {"workers": "auto", "threads": 2, "control_socket": str(control)}},
        "--control-socket",
        str(control),
        workers=2,
    )
    until("gunicorn to be asked", lambda: proxy.value("siding_workers_limit") == 4, 30)
    assert proxy.value("siding_collector_errors_total", collector="gunicorn") == 0


def test_a_control_socket_that_is_not_there_is_an_error_that_harms_nothing(scripted, siding, tmp_path):
    proxy = siding(scripted(Answer()), settings={"backend": {"control_socket": str(tmp_path / "none")}})
    until("a look", lambda: proxy.value("siding_collector_errors_total", collector="gunicorn") > 0)
    assert proxy.request("GET", "/").status == 200
    assert proxy.value("siding_workers_limit") == 1


def test_connections_that_reach_the_app_past_siding_show_in_its_accept_queue(stack, siding):
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    for _ in range(5):
        stack.enter_context(socket.create_connection(listener.getsockname()))
    proxy = siding(address)
    until("the queue to be seen", lambda: "siding_listen_backlog 5" in proxy.page("/metrics").body.decode())


def test_time_at_providers_is_saved_while_it_passes_and_is_no_queueing(scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b"{}")))
    proxy = siding(scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell())), provider.url)
    with proxy.connect() as client:
        client.start("POST", "/", body=b"x")
        provider.wait_for(1)
        until("time to be saved", lambda: proxy.value("siding_worker_seconds_saved_total", mode="replay") > 0.3)
        assert proxy.value("siding_workers_busy") == 0
        assert proxy.value("siding_workers_needed_without_siding") >= 1
        release.set()
        assert client.response("POST").status == 200
    assert proxy.value("siding_queue_wait_seconds_sum") < 0.3


def test_series_do_not_grow_with_what_clients_send(scripted, siding, llm):
    names = iter(range(100_000))

    def script(received):
        return Answer(200, b"", [("Siding-Route", f"/view-{next(names)}/")])

    egress = free_address()
    proxy = siding(scripted(script), llm.providers(), {"server": {"egress": egress}, "backend": {"workers": 8}})
    until("the egress", lambda: listens(egress))
    key = [("Authorization", f"Bearer {KEY}"), ("Content-Type", "application/json")]

    def ask(number: int) -> None:
        method = ("GET", "POST", "PUT", f"M{number}")[number % 4]
        proxy.request(method, f"/path/{number}?query={number}", [("Host", f"host-{number}")])
        body = {"model": f"model-{number}", "messages": [{"role": "user", "content": f"prompt {number}"}]}
        raw_http.request(egress, "POST", "/openai/v1/chat/completions", key, json.dumps(body).encode())

    def series() -> int:
        return sum(not line.startswith(b"#") for line in proxy.page("/metrics").body.splitlines())

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(ask, range(400)))  # beyond every bound
        full = series()
        list(clients.map(ask, range(1000, 2000)))
    assert series() == full
