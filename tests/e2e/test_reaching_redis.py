"""The ways to reach Redis: with a password, over TLS, as a user with few rights, through sentinels, as a cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tls
from harness.addresses import free_address, listens
from harness.process import ROOT
from harness.redis import Redis
from harness.siding import Siding, merged
from harness.steps import Answer
from harness.waiting import until
from test_egress import asked, is_plain, is_stream, post, streamed

HOUR = {"cache": {"ttl": "1h"}}
# Of the user `siding` where Redis has one.
USER = {"password_env": "REDIS_PASSWORD"}
PASSWORD = {"REDIS_PASSWORD": "hunter2"}


def test_a_redis_that_wants_a_password_gets_it_from_the_environment(llm, scripted, siding, stack, tmp_path):
    redis = Redis(tmp_path, "--requirepass", "hunter2")
    redis.is_ready = lambda: listens(redis.address)  # type: ignore[method-assign]
    stack.enter_context(redis)
    settings = {"server": {"egress": free_address()}, "redis": {"url": redis.url, "password_env": "REDIS_PASSWORD"}}
    wrong = siding(scripted(Answer()), llm.url, settings, environment={"REDIS_PASSWORD": "wrong"})
    until("the refusal to be told", lambda: "Redis cannot be reached" in wrong.log)
    assert is_plain(post(wrong, asked("x")), "x")
    settings["server"] = {"egress": free_address()}
    right = siding(scripted(Answer()), llm.url, settings, environment={"REDIS_PASSWORD": "hunter2"})
    right.until_value(1, "siding_redis_up")
    for log in (wrong.log, right.log):
        assert "hunter2" not in log


@pytest.mark.parametrize("kind", ["tls", "user", "sentinel", "cluster"])
def test_redis_may_be_reached_over_tls_by_a_user_with_few_rights_by_sentinels_or_as_a_cluster(
    kind, llm, scripted, siding, stack, tmp_path
):
    url, settings = {"tls": behind_tls, "user": with_few_rights, "sentinel": watched, "cluster": cluster}[kind](
        stack, tmp_path
    )
    proxies = []
    for _ in range(2):
        chosen = {"server": {"egress": free_address()}, "redis": {"url": url, **settings, "lease": "600ms"}}
        proxies.append(siding(scripted(Answer()), llm.url, merged(chosen, HOUR), environment=PASSWORD))
        proxies[-1].until_value(1, "siding_redis_up")
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(post, proxy, streamed("x [latency=500ms]", True)) for proxy in proxies * 5]
        for call in calls:
            assert is_stream(call.result(), "x [latency=500ms]")
    assert len(llm.asked("x [latency=500ms]")) == 1
    for number in range(10):
        assert is_plain(post(proxies[0], asked(f"{number}")), f"{number}")
        until("it to be stored", lambda number=number: written(proxies[0]) + written(proxies[1]) == number + 2)
        assert is_plain(post(proxies[1], asked(f"{number}")), f"{number}")
        assert len(llm.asked(f"{number}")) == 1


def test_after_a_failover_the_new_master_is_asked(llm, scripted, siding, stack, tmp_path):
    url, settings = watched(stack, tmp_path)
    chosen = {"server": {"egress": free_address()}, "redis": {"url": url, **settings, "lease": "600ms"}}
    proxy = siding(scripted(Answer()), llm.url, merged(chosen, HOUR), environment=PASSWORD)
    proxy.until_value(1, "siding_redis_up")
    sentinel = Redis(tmp_path, address=url.split("@")[1].split("/")[0])
    assert sentinel.ask("SENTINEL", "FAILOVER", "main") == "OK"
    until("the old one to be left", lambda: proxy.value("siding_redis_losses_total") >= 1, 40)
    until("the new one to be found", lambda: proxy.value("siding_redis_up") == 1, 20)
    assert is_plain(post(proxy, asked("after")), "after")
    until("the answer to be stored", lambda: written(proxy) == 1)


def written(proxy: Siding) -> float:
    """Answers stored for all."""
    return proxy.value("siding_second_level_writes_total", result="ok")


def behind_tls(stack, directory) -> tuple[str, dict[str, Any]]:
    """A server with a certificate of its own making."""
    certificate, key = map(str, tls.make(directory))
    address = free_address()
    port = address.split(":")[1]
    server = Redis(directory, "--port", "0", "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
                   "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no", address=address)  # fmt: skip
    server.is_ready = lambda: listens(address)  # type: ignore[method-assign]
    stack.enter_context(server)
    return f"rediss://localhost:{port}", {"ca_file": certificate, "connect_timeout": "3s"}


def with_few_rights(stack, directory) -> tuple[str, dict[str, Any]]:
    """A server that nobody but the user may ask for anything."""
    server = stack.enter_context(Redis(directory))
    add_user(server)
    assert server.ask("ACL", "SETUSER", "default", "-@all", "+ping") == "OK"
    return server.url.replace("//", "//siding@"), USER


def add_user(server: Redis) -> None:
    """One with the rights that docs/redis.md names."""
    [line] = [line for line in (ROOT / "docs" / "redis.md").read_text().splitlines() if "ACL SETUSER" in line]
    assert server.ask(*line.replace("PASSWORD", "hunter2").split()) == "OK"


def watched(stack, directory) -> tuple[str, dict[str, Any]]:
    """A master, a replica, and a sentinel that watches both."""
    master = stack.enter_context(Redis(directory))
    host, port = master.address.split(":")
    replica = stack.enter_context(Redis(directory, "--replicaof", host, port, "--repl-diskless-sync-delay", "0"))
    add_user(master)
    add_user(replica)
    until("the replica to follow", lambda: "state=online" in str(master.ask("INFO", "replication")))
    file = directory / "sentinel.conf"
    file.write_text(f"sentinel monitor main {host} {port} 1\nsentinel down-after-milliseconds main 500\n")
    sentinel = Redis(directory)
    sentinel.command = ["redis-server", str(file), "--sentinel", "--port", sentinel.address.split(":")[1]]
    stack.enter_context(sentinel)
    until("the sentinel to know both", lambda: "slaves=1" in str(sentinel.ask("INFO", "sentinel")))
    return f"redis+sentinel://siding@{sentinel.address}/main", USER


def cluster(stack, directory) -> tuple[str, dict[str, Any]]:
    """Three masters that share the slots."""
    nodes, bus_of = [], {}
    for number in range(3):
        bus = free_address().split(":")[1]
        flags = ["--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{number}.conf", "--cluster-port", bus]
        nodes.append(stack.enter_context(Redis(directory, *flags, "--cluster-node-timeout", "2000")))
        bus_of[nodes[-1]] = bus
        add_user(nodes[-1])
    for number, node in enumerate(nodes):
        first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
        node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        host, port = node.address.split(":")
        nodes[0].ask("CLUSTER", "MEET", host, port, bus_of[node])
    for node in nodes:
        until("the cluster to be whole", lambda node=node: "cluster_state:ok" in str(node.ask("CLUSTER", "INFO")), 30)
    return f"redis+cluster://siding@{nodes[0].address}", USER
