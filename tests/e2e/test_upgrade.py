"""Another process in the place of one that runs: nothing fails, and where it cannot take over nothing changes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.addresses import free_address, listens
from harness.calls import chat, entry
from harness.process import BINARIES
from harness.raw_http import Connection
from harness.siding import Siding
from harness.steps import Answer, HandOver, Hang, Tell, by_pass, by_path
from harness.waiting import until

# A program that is started and never serves.
SLEEPER = "#!/bin/sh\nexec sleep 600\n"


@pytest.fixture
def replaceable(stack, tmp_path):
    """A proxy whose program can be replaced."""

    def start(backend, provider=None, settings=None, environment=None) -> Siding:
        proxy = Siding(tmp_path, backend.address, provider, settings, environment=environment)
        program = tmp_path / "siding"
        shutil.copy(BINARIES / "siding", program)
        proxy.command[0] = str(program)
        proxy.environment["TMPDIR"] = str(tmp_path)
        return stack.enter_context(proxy)

    return start


def replaced(path: Path, text: str | None = None) -> None:
    """Another file at this path, as an installation has it: what runs is left without a name."""
    new = path.with_suffix(".new")
    if text is None:
        shutil.copy(path, new)
    else:
        new.write_text(text)
        new.chmod(0o755)
    new.rename(path)


def started(proxy) -> float:
    """When the process that answers read its configuration."""
    return proxy.value("siding_config_last_reload_success_timestamp_seconds")


def upgraded(proxy, pid: int | None = None) -> int:
    """Has another process take over, waits until it alone answers on the admin listener, and returns its number."""
    before = started(proxy)
    os.kill(pid or proxy.pid, signal.SIGUSR2)
    until("another process", lambda: started(proxy) != before, 20)
    (successor,) = [child for child in proxy.children() if child != pid]
    return successor


def failed(proxy, why: str, times: int = 1) -> None:
    """Waits until an upgrade has failed, and sees that nothing is left of it."""
    until("the refusal", lambda: proxy.log.count("the upgrade failed, and this process goes on") == times, 20)
    assert why in proxy.log
    until("nothing to be left", lambda: descendants(proxy.pid) == [])
    assert places(proxy) == []
    assert proxy.page("/readyz").status == 200
    response = proxy.request("GET", "/")
    assert (response.status, response.header("connection")) == (200, "keep-alive")


def places(proxy) -> list[str]:
    """Where sockets are passed, as far as it is there."""
    return [path.name for path in proxy.directory.iterdir() if path.name.startswith("siding-") and path.is_dir()]


def descendants(pid: int) -> list[int]:
    """A process's children, those that ended and were not waited for included."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@contextmanager
def asking(ask):
    """Somebody who asks without a pause meanwhile; no question may fail."""
    done, failures, answered = threading.Event(), [], [0]

    def go_on() -> None:
        while not done.is_set():
            try:
                ask()
                answered[0] += 1
            except Exception as error:
                failures.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not failures, failures
    assert answered[0] > 0


def client(proxy, *, is_kept: bool, path: str = "/plain"):
    """Questions on one connection for as long as it is to be kept, or each on its own."""
    kept: list[Connection] = []

    def ask() -> None:
        if not kept:
            kept.append(Connection(proxy.address))
        response = kept[0].request("POST", path, body=b"x")
        assert response.status == 200, response
        if not is_kept or response.header("connection") == "close":
            kept.pop().close()

    return ask


def page(proxy):
    """A probe."""

    def ask() -> None:
        assert proxy.page("/livez").status == 200

    return ask


def test_another_process_takes_the_sockets_over_and_the_old_one_finishes_what_it_has(replaceable, scripted):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    worker = scripted(by_path(chat=by_pass(HandOver([chat(provider.url, "x")]), Tell()), plain=Tell(), streamed=Tell()))
    settings = {"backend": {"workers": 8}, "routes": [{"path": "/streamed", "handoff": False}]}
    proxy = replaceable(worker, provider.url, settings)
    with proxy.connect() as slow, proxy.connect() as idle:
        idle.request("POST", "/plain", body=b"x")
        slow.start("POST", "/chat", body=b"x")
        provider.wait_for(1)
        replaced(Path(proxy.command[0]))
        with (
            asking(client(proxy, is_kept=True)),
            asking(client(proxy, is_kept=False)),
            asking(client(proxy, is_kept=True, path="/streamed")),
            asking(page(proxy)),
        ):
            successor = upgraded(proxy)
            assert proxy.is_running(), "it still has an exchange"
            response = idle.request("POST", "/plain", body=b"y")
            assert (response.status, response.header("connection")) == (200, "close")
            release.set()
            assert entry(slow.response("POST"))["status"] == 200
            assert proxy.wait(20) == 0
    assert proxy.request("POST", "/plain", body=b"z").status == 200
    assert proxy.children() == [successor]
    assert places(proxy) == []
    assert "ERROR" not in proxy.log


def test_one_process_after_another_takes_over(replaceable, scripted):
    proxy = replaceable(scripted(Tell()), settings={"server": {"egress": free_address(), "h2c": free_address()}})
    with asking(client(proxy, is_kept=True)), asking(client(proxy, is_kept=False)):
        first = upgraded(proxy)
        assert proxy.wait(20) == 0
        second = upgraded(proxy, first)
        until("the end of the first", lambda: not Path(f"/proc/{first}").exists(), 20)
    assert proxy.children() == [second]
    said = Path(f"/proc/{second}/cmdline").read_bytes().split(b"\0")
    assert said.count(b"--upgrade") == 1
    for address in (proxy.settings["server"]["egress"], proxy.settings["server"]["h2c"]):
        assert listens(address)
    assert places(proxy) == []


def test_a_link_that_leads_elsewhere_now_is_followed(replaceable, scripted):
    proxy = replaceable(scripted(Tell()))
    proxy.stop()
    directory = proxy.directory
    program, link = Path(proxy.command[0]), directory / "current"
    other = directory / "siding-2"
    shutil.copy(program, other)
    link.symlink_to(program)
    proxy.command[0] = str(link)
    with proxy:
        assert os.readlink(f"/proc/{proxy.pid}/exe") == str(program)
        (directory / "next").symlink_to(other)
        (directory / "next").rename(link)
        successor = upgraded(proxy)
        assert os.readlink(f"/proc/{successor}/exe") == str(other)


def test_a_process_that_cannot_take_over_changes_nothing(replaceable, scripted):
    proxy = replaceable(scripted(Tell()), settings={"server": {"watch": False}})
    before = started(proxy)
    good = proxy.config.read_text()
    proxy.config.write_text("[backend]\nworkers = 0\n")
    proxy.signal(signal.SIGUSR2)
    failed(proxy, "backend.workers: must be at least 1")
    os.chmod(proxy.command[0], 0o600)
    proxy.signal(signal.SIGUSR2)
    failed(proxy, "cannot start", times=2)
    os.chmod(proxy.command[0], 0o700)
    assert started(proxy) == before
    proxy.config.write_text(good)
    upgraded(proxy)
    assert proxy.request("GET", "/").status == 200


def test_a_process_that_fails_with_the_sockets_in_its_hands_changes_nothing(replaceable, scripted):
    backend = scripted(Tell())
    proxy = replaceable(backend, settings={"server": {"watch": False}})
    listen = f'listen = ["{proxy.address}"'
    assert listen in proxy.config.read_text()
    proxy.config.write_text(proxy.config.read_text().replace(listen, f'{listen}, "{backend.address}"'))
    with asking(client(proxy, is_kept=True, path="/")), asking(client(proxy, is_kept=False, path="/")):
        proxy.signal(signal.SIGUSR2)
        failed(proxy, f"cannot listen on {backend.address}")


def test_addresses_that_are_new_are_bound_and_those_that_are_gone_are_closed(replaceable, scripted):
    gone, new = free_address(), free_address()
    kept = free_address()
    proxy = replaceable(scripted(Tell()), settings={"server": {"listen": [kept, gone], "watch": False}})
    assert listens(gone)
    proxy.config.write_text(proxy.config.read_text().replace(gone, new))
    upgraded(proxy)
    assert listens(kept)
    assert listens(new)
    until("the old one to leave its address", lambda: not listens(gone))


def test_one_upgrade_at_a_time_and_the_end_of_a_process_ends_it(replaceable, scripted):
    proxy = replaceable(scripted(Tell()), settings={"server": {"linger": "0s"}})
    replaced(Path(proxy.command[0]), SLEEPER)
    proxy.signal(signal.SIGUSR2)
    until("the other process", lambda: len(descendants(proxy.pid)) == 1)
    (other,) = descendants(proxy.pid)
    proxy.signal(signal.SIGUSR2)
    until("the second signal to be heard", lambda: "about to take over already" in proxy.log)
    assert descendants(proxy.pid) == [other]
    assert proxy.request("GET", "/").status == 200
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    until("the end of the other one", lambda: proxy.children() == [])
    assert places(proxy) == []


def test_sockets_in_the_file_system_are_handed_over_too(replaceable, scripted, tmp_path):
    listen, admin = tmp_path / "edge.sock", tmp_path / "admin.sock"
    settings = {"server": {"listen": [f"unix:{listen}"], "admin": f"unix:{admin}"}}
    proxy = replaceable(scripted(Tell()), settings=settings)
    before = [path.stat().st_ino for path in (listen, admin)]
    assert admin.stat().st_mode & 0o777 == 0o600
    with asking(client(proxy, is_kept=False)), asking(page(proxy)):
        upgraded(proxy)
        assert proxy.wait(20) == 0
    assert [path.stat().st_ino for path in (listen, admin)] == before


def test_sockets_that_cannot_be_passed_are_no_reason_to_end(replaceable, scripted, tmp_path):
    (tmp_path / "a b").mkdir()
    proxy = replaceable(scripted(Tell()), settings={"server": {"listen": [f"unix:{tmp_path}/a b/edge.sock"]}})
    proxy.signal(signal.SIGUSR2)
    failed(proxy, "path with spaces cannot be passed")


@pytest.fixture
def manager(tmp_path):
    """A service manager that is told what happens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        yield told


def test_a_service_manager_is_told_when_it_serves_reloads_and_ends(manager, replaceable, scripted, tmp_path):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    proxy = replaceable(scripted(Tell()), settings={"server": {"linger": "0s"}}, environment=environment)
    assert manager.recv(1000).split() == [b"MAINPID=%d" % proxy.pid, b"READY=1"]
    proxy.signal(signal.SIGHUP)
    reloading = manager.recv(1000)
    assert b"RELOADING=1" in reloading
    assert b"MONOTONIC_USEC=" in reloading
    assert b"READY=1" in manager.recv(1000)
    proxy.signal(signal.SIGTERM)
    assert manager.recv(1000).strip() == b"STOPPING=1"
    assert proxy.wait() == 0


def test_a_service_manager_is_told_which_process_is_the_service_now(manager, replaceable, scripted, tmp_path):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    proxy = replaceable(scripted(Tell()), environment=environment)
    assert b"READY=1" in manager.recv(1000)
    successor = upgraded(proxy)
    assert manager.recv(1000).split() == [b"MAINPID=%d" % successor, b"READY=1"]
    assert proxy.wait(20) == 0
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)  # the service does not stop


def test_nobody_takes_over_from_nowhere(replaceable, scripted, tmp_path):
    proxy = replaceable(scripted(Tell()))
    proxy.stop()
    proxy.command += ["--upgrade", str(tmp_path / "nowhere")]
    proxy.start()
    assert proxy.wait() == 1
    assert "cannot take sockets over" in proxy.log
    assert "panicked" not in proxy.log
