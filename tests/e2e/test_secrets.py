"""What must not be told: to a log, to those who may not ask, to who finds what a crash leaves."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
from pathlib import Path

import pytest
from harness.addresses import free_address, listens
from harness.calls import assert_problem, chat, entry
from harness.raw_http import request
from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding
from harness.steps import Answer, HandOver, Raw, Tell, by_pass
from harness.waiting import until

ME = ("Authorization", "Bearer me")
HOOK = "whsec_U0VDUkVULVNFQ1JFVC1TRUNSRVQtU0VDUkVU"
JOBS = {"routes": [{"path": "/api/**", "background": True}]}
# A head that nobody can read, of an app that has just logged somebody in.
UNREADABLE = b"HTTP/1.1 200 OK\r\nSet-Cookie: sessionid=SECRET\r\nno header\r\n\r\n"
A_FOREIGN_PAGE = [
    [("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "same-site"), ("Referer", "https://evil.example/")],
    [("Origin", "https://evil.example")],
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("handoff", [True, False])
def test_the_head_of_an_answer_that_cannot_be_read_is_not_logged(handoff, method, scripted, siding):
    """A GET is sent again after it, which is told too."""
    proxy = siding(scripted(Raw(UNREADABLE)), settings={"routes": [{"path": "/**", "handoff": handoff}]})
    assert_problem(proxy.request(method, "/", body=b"" if method == "POST" else None), 502, "backend-protocol")
    until("the access line", lambda: "backend-protocol" in proxy.log)
    assert "the app did not answer" in proxy.log
    assert "SECRET" not in proxy.log


@pytest.mark.parametrize("bad", ["no header\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n", "X: a\x00b\r\n"])
def test_a_request_that_cannot_be_read_is_not_logged(bad, scripted, siding):
    proxy = siding(scripted(Tell()))
    with proxy.connect() as client:
        client.send(f"GET /?key=SECRET HTTP/1.1\r\nHost: a\r\nAuthorization: SECRET\r\n{bad}\r\n".encode())
        assert client.response().status == 400
    proxy.ended("answered", times=0)
    assert "SECRET" not in proxy.log


def test_a_job_is_not_named_in_the_log_however_a_request_about_it_ends(scripted, siding):
    proxy = siding(scripted(Answer(200, b"done")), settings={**JOBS, "server": {"max_body": "1KiB"}})
    begun = proxy.request("POST", "/api/report", [("Prefer", "respond-async"), ME], b"question")
    location = begun.header("location") or ""
    until("its answer", lambda: proxy.request("GET", location, [ME]).status == 200)
    assert_problem(proxy.request("GET", location, [("Authorization", "Bearer you")]), 404, "job-unknown")
    assert_problem(proxy.request("PUT", location, [ME]), 405, "job-method")
    assert_problem(proxy.request("POST", location, [ME], bytes(2000)), 413, "body-too-large")
    with proxy.connect() as client:
        client.send(f"GET {location} HTTP/1.1\r\n\r\n".encode())
        assert_problem(client.response(), 400, "bad-request")
    proxy.until_value(1, "siding_exchanges_total", mode="jobs", outcome="bad-request")
    assert location.rsplit("/")[-1] not in proxy.log


def test_a_redirect_is_never_followed(scripted, siding):
    """Neither a provider's, with which a key would travel, nor that of a webhook's receiver."""
    inside = scripted(Answer())
    elsewhere = scripted(Answer(307, b"", [("Location", f"{inside.url}/latest/meta-data")]))
    worker = scripted(by_pass(HandOver([chat(elsewhere.url, "x")]), Tell()))
    jobs = {"path": "/api/**", "background": {"webhook": f"{elsewhere.url}/hook", "webhook_secret_env": "HOOK"}}
    environment = {"HOOK": HOOK, "A_KEY": "SECRET-key"}
    settings = {"providers": {"openai": {"api_key_env": "A_KEY"}}, "routes": [jobs]}
    proxy = siding(worker, elsewhere.url, settings, environment=environment)
    told = entry(proxy.request("POST", "/", body=b"x"))
    assert told["status"] == 307
    assert ["location", f"{inside.url}/latest/meta-data"] in told["headers"]
    proxy.request("POST", "/api/report", [("Prefer", "respond-async"), ME], b"x")
    until("the receiver to be told again", lambda: hooks(elsewhere) >= 2)
    assert inside.requests == []


def hooks(receiver: ScriptedWorker) -> int:
    """How often it was told of a job."""
    return sum(request.target == "/hook" for request in list(receiver.requests))


def test_no_foreign_web_page_makes_an_operators_browser_act(scripted, siding):
    proxy = siding(scripted(Tell()))
    for headers in A_FOREIGN_PAGE:
        for method, target in [("POST", "/-/purge?all"), ("GET", "/-/drain"), ("GET", "/-/drained")]:
            refused = request(proxy.admin, method, target, headers)
            assert (refused.status, refused.body) == (403, b"not at the wish of a web page\n")
        assert request(proxy.admin, "GET", "/-/status", headers).header("access-control-allow-origin") is None
    proxy.until_app()  # it is not drained
    assert request(proxy.admin, "POST", "/-/purge?all").status == 200
    assert request(proxy.admin, "GET", "/-/drain", [("Sec-Fetch-Site", "none")]).status == 200
    assert b"draining" in proxy.page("/readyz").body


@pytest.mark.parametrize("headers", A_FOREIGN_PAGE)
def test_no_web_page_spends_keys_through_the_egress(headers, llm, siding):
    egress = free_address()
    proxy = siding(free_address(), llm.url, {"server": {"egress": egress}})
    call = chat(llm.url, "x")["body"].encode()
    target = "/openai/v1/chat/completions"
    refused = request(egress, "POST", target, [*headers, ("Content-Type", "text/plain")], call)
    assert_problem(refused, 403, "web-page")
    assert llm.stats()["total"] == 0
    proxy.ended("web-page", "egress")
    assert request(egress, "POST", target, [("Sec-Fetch-Mode", "cors")], call).status == 200


def test_the_admin_listener_tells_no_secret(scripted, siding):
    settings = {
        "providers": {"openai": {"dialect": "openai", "base_url": "http://127.0.0.1:1", "api_key_env": "A_KEY"}},
        "background": {"owner": "id"},
        "routes": [{"path": "/api/**", "background": {"webhook": "http://127.0.0.1:1/", "webhook_secret_env": "HOOK"}}],
    }
    secrets = {"A_KEY": "SECRET-key", "HOOK": HOOK}
    worker = scripted(Answer(500, b"SECRET-answer"))
    proxy = siding(worker, None, settings, secret="SECRET" * 4, environment=secrets)
    headers = [("Authorization", "Bearer SECRET"), ("Cookie", "sessionid=SECRET"), ("X-Forwarded-For", "SECRET")]
    assert proxy.request("POST", "/fails?key=SECRET", headers, b"SECRET").status == 500
    proxy.ended("answered")
    for path in ("/", "/-/status", "/metrics", "/livez", "/readyz", "/nowhere"):
        said = request(proxy.admin, "GET", path, [("Accept", "text/html")]).raw.decode()
        assert not re.search("SECRET|U0VDUkVU", said), path
    assert not re.search("SECRET|U0VDUkVU", proxy.log)


def test_where_keys_are_spent_or_the_process_is_governed_a_socket_is_not_for_everybody(
    scripted, siding, tmp_path: Path
):
    paths = {name: tmp_path / f"{name}.sock" for name in ("egress", "admin", "clients")}
    addresses = {name: f"unix:{path}" for name, path in paths.items()}
    server = {"egress": addresses["egress"], "admin": addresses["admin"]}
    siding(scripted(Tell()), settings={"server": {**server, "listen": [free_address(), addresses["clients"]]}})
    until("the sockets", lambda: all(listens(address) for address in addresses.values()))
    modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}
    assert modes == {"egress": 0o660, "admin": 0o600, "clients": 0o666}


class Dumping(Siding):
    """Siding whose surroundings allow core dumps."""

    def start(self) -> None:
        """With no limit, as containers have it."""
        before = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        try:
            super().start()
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, before)

    def limit(self) -> list[str]:
        """The soft and the hard one, as the kernel has them."""
        [line] = re.findall(r"^Max core file size +(\S+) +(\S+)", Path(f"/proc/{self.pid}/limits").read_text(), re.M)
        return list(line)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="no core dumps are allowed here at all")
def test_a_crash_leaves_nothing_unless_the_operator_wants_it(scripted, stack, tmp_path: Path):
    worker = scripted(Tell())
    with Dumping(tmp_path, worker.address) as proxy:
        assert proxy.limit() == ["1", "1"]
        proxy.signal(signal.SIGABRT)
        assert proxy.wait() == -signal.SIGABRT
    assert not [name for name in os.listdir(tmp_path) if name.startswith("core")]
    wanted = Dumping(tmp_path, worker.address)
    wanted.command.append("--core-dumps")
    stack.enter_context(wanted)
    assert wanted.limit() != ["1", "1"]
