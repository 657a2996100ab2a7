"""The end of a process without a failed request: draining, lingering, and another process in its place."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.addresses import listens
from harness.calls import chat, entry
from harness.process import BINARIES
from harness.raw_http import Connection, Incomplete
from harness.siding import Siding
from harness.steps import Answer, HandOver, Hang, Tell, by_pass, by_path
from harness.waiting import until

LINGER = {"server": {"linger": "3s"}}


def draining(proxy):
    until("unreadiness", lambda: b"draining" in proxy.page("/readyz").body)


def test_a_request_on_an_open_connection_is_served_while_lingering_and_told_to_go(scripted, siding):
    proxy = siding(scripted(Tell()), settings={**LINGER, "routes": [{"path": "/streamed", "handoff": False}]})
    with proxy.connect() as plain, proxy.connect() as streamed:
        assert plain.request("GET", "/").header("connection") != "close"
        streamed.request("GET", "/streamed")
        proxy.signal(signal.SIGTERM)
        draining(proxy)
        for client, path in ((plain, "/"), (streamed, "/streamed")):
            response = client.request("GET", path)
            assert (response.status, response.header("connection")) == (200, "close")
    assert proxy.wait() == 0


def test_a_new_connection_is_served_while_lingering(scripted, siding):
    proxy = siding(scripted(Tell()), settings=LINGER)
    proxy.signal(signal.SIGTERM)
    draining(proxy)
    response = proxy.request("GET", "/")
    assert (response.status, response.header("connection")) == (200, "close")
    until("the listener to close", lambda: not listens(proxy.address))
    assert proxy.wait() == 0


def test_a_process_that_was_drained_before_does_not_linger_again(scripted, siding):
    proxy = siding(scripted(Tell()), settings={"server": {"linger": "500ms"}})
    assert proxy.page("/-/drain").body == b"draining\n"
    assert proxy.value("siding_draining") == 1
    assert proxy.page("/readyz").status == 503
    assert proxy.request("GET", "/").status == 200, "what comes is served"
    began = time.monotonic()
    until("the linger to be over", lambda: time.monotonic() - began > 0.5)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0


def test_drained_waits_for_exchanges_that_will_need_the_app(scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    proxy = siding(worker, provider.url, {"server": {"propagation": "0s"}})
    with proxy.connect() as client, ThreadPoolExecutor() as pool:
        client.start("POST", "/chat", body=b"x")
        provider.wait_for(1)
        hook = pool.submit(proxy.page, "/-/drained")
        draining(proxy)
        assert not hook.done()
        release.set()
        assert entry(client.response("POST"))["status"] == 200
        assert hook.result().body == b"drained\n"


def test_drained_waits_no_longer_than_a_shutdown_would(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"server": {"propagation": "0s", "drain": "1s"}})
    with proxy.connect() as client:
        client.start("GET", "/")
        worker.wait_for(1)
        assert b"still under way" in proxy.page("/-/drained").body
        release.set()
        assert client.response().status == 200


@pytest.fixture
def replaceable(stack, tmp_path):
    """A proxy whose program can be replaced."""

    def start(backend, provider=None, settings=None) -> Siding:
        proxy = Siding(tmp_path, backend.address, provider, settings)
        program = tmp_path / "siding"
        shutil.copy(BINARIES / "siding", program)
        proxy.command[0] = str(program)
        proxy.environment["TMPDIR"] = str(tmp_path)
        return stack.enter_context(proxy)

    return start


def started(proxy) -> float:
    """When the process that answers read its configuration."""
    return proxy.value("siding_config_last_reload_success_timestamp_seconds")


def upgraded(proxy, before) -> None:
    """Waits until another process answers on the admin listener."""

    def is_another():
        try:
            return started(proxy) != before
        except (OSError, Incomplete, AssertionError):  # between the two nobody listens
            return False

    until("another process", is_another, 20)


def test_another_process_takes_the_sockets_over_and_the_old_one_finishes_what_it_has(replaceable, scripted, tmp_path):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    worker = scripted(by_path(chat=by_pass(HandOver([chat(provider.url, "x")]), Tell()), plain=Tell()))
    proxy = replaceable(worker, provider.url, {"backend": {"workers": 8}})
    program = Path(proxy.command[0])
    before, old = started(proxy), proxy.pid
    with proxy.connect() as slow, proxy.connect() as idle:
        idle.request("POST", "/plain", body=b"x")
        slow.start("POST", "/chat", body=b"x")
        provider.wait_for(1)
        shutil.copy(program, tmp_path / "new")
        (tmp_path / "new").rename(program)  # the running one's file is gone now
        failures: list[object] = []
        done = threading.Event()
        clients = [threading.Thread(target=go_on, args=(proxy, done, failures, kept)) for kept in (True, False)]
        for client in clients:
            client.start()
        proxy.signal(signal.SIGUSR2)
        upgraded(proxy, before)
        assert os.path.exists(f"/proc/{old}"), "it still has an exchange"
        response = idle.request("POST", "/plain", body=b"y")
        assert (response.status, response.header("connection")) == (200, "close")
        release.set()
        assert entry(slow.response("POST"))["status"] == 200
        assert proxy.wait(20) == 0
        done.set()
        for client in clients:
            client.join()
    assert not failures, failures
    assert proxy.request("POST", "/plain", body=b"z").status == 200
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("siding-") and path.is_dir()] == []


def go_on(proxy, done, failures, is_kept) -> None:
    """A client that asks without a pause, on one connection as long as it is told to keep it."""
    connection = None
    while not done.is_set():
        try:
            if connection is None:
                connection = Connection(proxy.address)
            response = connection.request("POST", "/plain", body=b"x")
            if response.status != 200:
                failures.append(response)
            if not is_kept or response.header("connection") == "close":
                connection.close()
                connection = None
        except (OSError, Incomplete, ValueError) as error:
            failures.append(error)
            connection = None


def test_a_process_that_cannot_take_over_changes_nothing(replaceable, scripted):
    proxy = replaceable(scripted(Tell()), settings={"server": {"watch": False}})
    before = started(proxy)
    good = proxy.config.read_text()
    proxy.config.write_text("[backend]\nworkers = 0\n")
    proxy.signal(signal.SIGUSR2)
    until("the refusal", lambda: "the upgrade failed, and this process goes on" in proxy.log)
    assert "backend.workers: must be at least 1" in proxy.log
    assert started(proxy) == before
    assert proxy.page("/readyz").status == 200
    assert proxy.request("GET", "/").header("connection") != "close"
    os.chmod(proxy.command[0], 0o600)
    proxy.signal(signal.SIGUSR2)
    until("the second refusal", lambda: "cannot start" in proxy.log)
    os.chmod(proxy.command[0], 0o700)
    proxy.config.write_text(good)
    proxy.signal(signal.SIGUSR2)
    upgraded(proxy, before)
    assert proxy.request("GET", "/").status == 200


def test_sockets_in_the_file_system_are_handed_over_too(replaceable, scripted, tmp_path):
    path = f"unix:{tmp_path}/edge.sock"
    proxy = replaceable(
        scripted(Tell()), settings={"server": {"listen": [path], "admin": f"unix:{tmp_path}/admin.sock"}}
    )
    before = started(proxy)
    proxy.signal(signal.SIGUSR2)
    upgraded(proxy, before)
    assert proxy.request("GET", "/").status == 200
    assert proxy.wait(20) == 0
    assert proxy.request("GET", "/").status == 200


def test_a_service_manager_is_told_when_it_serves_reloads_and_ends(scripted, stack, tmp_path):
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(10)
    proxy = Siding(
        tmp_path,
        scripted(Tell()).address,
        environment={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        settings={"server": {"linger": "0s"}},
    )
    with told:
        stack.enter_context(proxy)
        assert told.recv(1000).split() == [b"MAINPID=%d" % proxy.pid, b"READY=1"]
        proxy.signal(signal.SIGHUP)
        reloading = told.recv(1000)
        assert b"RELOADING=1" in reloading
        assert b"MONOTONIC_USEC=" in reloading
        assert b"READY=1" in told.recv(1000)
        proxy.signal(signal.SIGTERM)
        assert told.recv(1000).strip() == b"STOPPING=1"
    assert proxy.wait() == 0
