"""A configuration that changes while requests are served: what changes, what goes on, what is refused."""

from __future__ import annotations

import signal
import threading

import pytest
import tls
from harness import signing
from harness.calls import chat, entry
from harness.config_map import ConfigMapMount
from harness.providers import JSON, completion
from harness.raw_http import Connection
from harness.siding import Siding, merged, toml
from harness.steps import Answer, HandOver, Hang, Tell, by_pass, by_path
from harness.waiting import until

RELOADS = "siding_config_reloads_total"
GOOD = "siding_config_last_reload_successful"
NEEDS_RESTART = "siding_config_restart_needed"


def test_a_changed_file_is_applied_to_requests_that_begin_later(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"server": {"max_body": "1KiB"}})
    assert proxy.request("POST", "/", body=b"x" * 2000).status == 200, "streamed, since it is too large to be kept"
    assert worker.requests[0].header("siding-id") is None
    proxy.reconfigure({"server": {"max_body": "1MiB"}})
    proxy.request("POST", "/", body=b"x" * 2000)
    assert worker.requests[1].header("siding-id"), "kept, so the app may suspend"
    assert proxy.value(GOOD) == 1
    assert proxy.value(NEEDS_RESTART) == 0


def test_a_connection_that_was_open_before_sees_the_new_configuration(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker)
    with proxy.connect() as client:
        client.request("POST", "/", body=b"x")
        proxy.reconfigure({"routes": [{"path": "/**", "handoff": False}]})
        client.request("POST", "/", body=b"x")
    offered = [request.header("siding-id") is not None for request in worker.requests]
    assert offered == [True, False]


def test_more_workers_take_those_who_wait(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Answer(200, b"done")))
    proxy = siding(worker, settings={"backend": {"workers": 1}})
    with proxy.connect() as one, proxy.connect() as other:
        one.start("GET", "/1")
        worker.wait_for(1)
        other.start("GET", "/2")
        proxy.until_value(1, "siding_queue_depth")
        proxy.reconfigure({"backend": {"workers": 2}})
        worker.wait_for(2)
        assert proxy.value("siding_workers_limit") == 2
        proxy.reconfigure({"backend": {"workers": 1}})
        assert proxy.value("siding_workers_busy") == 2, "nobody is cut off"
        release.set()
        assert (one.response().body, other.response().body) == (b"done", b"done")
    assert proxy.value("siding_workers_limit") == 1


def test_a_call_under_way_ends_at_the_provider_it_began_with(scripted, siding):
    release = threading.Event()
    old = scripted(Hang(release, Answer(200, completion("old"), JSON)))
    new = scripted(Answer(200, completion("new"), JSON))
    worker = scripted(
        by_path(
            old=by_pass(HandOver([chat(old.url, "x")]), Tell()),
            new=by_pass(HandOver([chat(new.url, "x")]), Tell()),
        )
    )
    proxy = siding(worker, old.url)
    with proxy.connect() as client:
        client.start("POST", "/old", body=b"x")
        old.wait_for(1)
        proxy.reconfigure({"providers": {"openai": {"dialect": "openai", "base_url": new.url}}})
        assert b"new" in entry(proxy.request("POST", "/new", body=b"x"))["body"].encode()
        release.set()
        assert "old" in entry(client.response("POST"))["body"]
    assert proxy.value("siding_calls_total", result="ok") == 2, "counted on in the same series"


def test_a_providers_health_survives_changes_that_are_not_its_own(scripted, siding):
    provider = scripted(Answer(500, b"{}", JSON))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    breaker = {"failures": 0.5, "minimum": 1, "window": "30s", "cooldown": "10m", "probes": 1}
    settings = {"providers": {"openai": {"retry": {"attempts": 1}, "breaker": breaker}}}
    proxy = siding(worker, provider.url, settings)
    proxy.request("POST", "/", body=b"x")
    proxy.until_value(1, "siding_provider_breaker_state", state="open")
    proxy.reconfigure({"backend": {"workers": 7}})
    assert proxy.value("siding_provider_breaker_state", state="open") == 1
    proxy.request("POST", "/", body=b"x")
    assert len(provider.requests) == 1


def test_what_is_stored_and_what_is_under_way_is_shared_on(scripted, siding):
    release = threading.Event()
    worker = scripted(by_path(slow=Hang(release, Answer(200, b"slow")), kept=Answer(200, b"kept")))
    routes = [{"path": "/**", "cache": {"ttl": "1h", "scope": "public"}}]
    proxy = siding(worker, settings={"backend": {"workers": 4}, "routes": routes})
    assert proxy.request("GET", "/kept").body == b"kept"
    with proxy.connect() as before, proxy.connect() as after:
        before.start("GET", "/slow")
        worker.wait_for(2)
        proxy.reconfigure({"backend": {"timeout": "20s"}})
        after.start("GET", "/slow")
        proxy.until_value(1, "siding_coalesced_requests_total")
        release.set()
        assert (before.response().body, after.response().body) == (b"slow", b"slow")
    assert proxy.request("GET", "/kept").body == b"kept"
    assert [request.target for request in worker.requests] == ["/kept", "/slow"]


def test_a_faulty_file_is_refused_with_each_fault_and_the_old_configuration_goes_on(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker)
    proxy.rewrite('[backend]\nworkers = 0\ntimout = "3s"\n')
    proxy.until_value(1, RELOADS, result="refused")
    assert proxy.value(GOOD) == 0
    log = proxy.log
    for fault in (
        f"{proxy.config}:2: backend.workers: must be at least 1",
        f"{proxy.config}:3: backend.timout: there is no key",
    ):
        assert fault in log, log
    assert proxy.request("POST", "/", body=b"x").status == 200
    proxy.reconfigure({"backend": {"workers": 2}})
    assert proxy.value(GOOD) == 1
    assert proxy.value("siding_workers_limit") == 2


@pytest.mark.parametrize("text", ["", "[backend", "\0"])
def test_a_file_that_is_half_written_harms_nobody(text, scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"backend": {"workers": 3}})
    proxy.rewrite(text)
    judged = "applied" if text == "" else "refused"
    proxy.until_value(1, RELOADS, result=judged)
    assert proxy.page("/livez").status == 200
    proxy.reconfigure({"backend": {"workers": 4}})
    assert proxy.value("siding_workers_limit") == 4
    assert proxy.request("POST", "/", body=b"x").status == 200


def test_a_hangup_reloads_where_files_are_not_watched_and_says_where_nothing_is_new(scripted, siding):
    proxy = siding(scripted(Tell()), settings={"server": {"watch": False}, "backend": {"workers": 1}})
    proxy.rewrite(toml(merged(proxy.settings, {"backend": {"workers": 5}})))
    assert proxy.value("siding_workers_limit") == 1
    hang_up(proxy, "applied")
    assert proxy.value("siding_workers_limit") == 5
    hang_up(proxy, "unchanged")


def hang_up(proxy, result):
    """Sends SIGHUP until it is heard: at the very start it is only kept from ending the process."""

    def is_heard():
        proxy.signal(signal.SIGHUP)
        return proxy.value(RELOADS, result=result) > 0

    until(f"a reload that is {result}", is_heard)


def test_a_config_map_that_is_swapped_is_applied(scripted, stack, tmp_path):
    proxy = Siding(tmp_path, scripted(Tell()).address, settings={"backend": {"workers": 1}})
    mount = ConfigMapMount(tmp_path / "mount", {"siding.toml": toml(proxy.settings)})
    proxy.command[-1] = str(mount.folder / "siding.toml")
    stack.enter_context(proxy)
    for number in (2, 3):
        mount.update({"siding.toml": toml(merged(proxy.settings, {"backend": {"workers": number}}))})
        proxy.until_value(number - 1, RELOADS, result="applied")
        assert proxy.value("siding_workers_limit") == number


def test_keys_that_need_a_restart_are_named_and_the_rest_is_applied(scripted, siding):
    proxy = siding(scripted(Tell()), settings={"backend": {"workers": 1}})
    proxy.reconfigure({"server": {"threads": 3}, "cache": {"capacity": "8MiB"}, "backend": {"workers": 2}})
    assert proxy.value(NEEDS_RESTART) == 1
    assert proxy.value("siding_workers_limit") == 2
    assert "server.threads, cache.capacity" in proxy.log
    proxy.reconfigure({"backend": {"workers": 3}})
    assert proxy.value(NEEDS_RESTART) == 0


def test_a_new_certificate_is_presented_to_new_connections_and_a_broken_one_is_not(scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    first = cert.read_bytes()
    proxy = siding(scripted(Tell()), settings={"server": {"tls": {"cert": str(cert), "key": str(key)}}})
    (tmp_path / "old.crt").write_bytes(first)
    with Connection(proxy.address, tls=tls.trusting(tmp_path / "old.crt")) as before:
        assert before.request("GET", "/").status == 200
        key.write_text("no key")
        proxy.until_value(1, RELOADS, result="refused")
        assert str(key) in proxy.log
        with Connection(proxy.address, tls=tls.trusting(tmp_path / "old.crt")) as still:
            assert still.request("GET", "/").status == 200
        tls.make(tmp_path)
        proxy.until_value(1, GOOD)
        with Connection(proxy.address, tls=tls.trusting(cert)) as after:
            assert after.request("GET", "/").status == 200
        assert before.request("GET", "/").status == 200, "what is open stays open"
    assert cert.read_bytes() != first


def test_a_secret_is_rotated_without_a_restart(scripted, siding):
    worker = scripted(Tell())
    other = "another secret of enough bytes"
    proxy = siding(worker, environment={"NEXT_SECRET": other})
    proxy.request("POST", "/", body=b"x")
    proxy.reconfigure({"handoff": {"secret_env": "NEXT_SECRET", "previous_secret_env": "SIDING_SECRET"}})
    proxy.request("POST", "/", body=b"x")
    assert worker.requests[0].offer_verifies(signing.SECRET)
    assert worker.requests[1].offer_verifies(other)


def test_bulkheads_follow_their_routes(scripted, siding):
    release = threading.Event()
    worker = scripted(lambda received: Hang(release) if received.target == "/narrow/held" else Answer())
    narrow = {"path": "/narrow/**", "max_workers": 1}
    proxy = siding(worker, settings={"backend": {"workers": 4}, "routes": [narrow]})
    with proxy.connect() as held, proxy.connect() as waiting:
        held.start("GET", "/narrow/held")
        worker.wait_for(1)
        waiting.start("GET", "/narrow/free")
        proxy.until_value(1, "siding_queue_depth")
        proxy.reconfigure({"routes": [{"path": "/other/**", "max_workers": 3}, {**narrow, "max_workers": 2}]})
        assert waiting.response().status == 200
        release.set()
        assert held.response().status == 200
    proxy.until_value(0, "siding_workers_busy")
