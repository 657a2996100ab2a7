"""The example of deploy/kubernetes as a real pod: the image as it is shipped, the manifests as kubectl builds them, the chat
project under gunicorn."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from chat_project import is_answer_to, pythons
from harness import images, raw_http
from harness.containers import Containers
from harness.kustomize import COMPONENTS, EXAMPLE, Built, build, container
from harness.metrics import total
from harness.once import locked, once, shared
from harness.pod import FROM_OUTSIDE, Pod
from harness.providers import Gate
from harness.scripted_worker import ScriptedWorker
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.steps import always
from harness.waiting import until

PROVIDER_PORT = 9300
PROVIDER = f"http://127.0.0.1:{PROVIDER_PORT}"
PATIENCE_SECONDS = 60.0
KEY = "sk-only-siding-has-it"
SECRETS = {"siding": {"SIDING_SECRET": SECRET, "OPENAI_API_KEY": KEY}}
IMAGES = {"siding": images.SIDING, "chat": images.CHAT}
SIDING_USER, CHAT_USER = 65532, 10001


class Client:
    """Who uses the app, and who operates it."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.token = pod.run("chat", "python", "manage.py", "seed").strip()

    def request(self, method: str, target: str, body: bytes | None = None) -> raw_http.Response:
        """Through Siding, from outside of the pod."""
        headers = [("Authorization", f"Token {self.token}"), ("Content-Type", "application/json")]
        with self.pod.network():
            return raw_http.request(f"{FROM_OUTSIDE}:8080", method, target, headers, body, PATIENCE_SECONDS)

    def chat(self, prompt: str) -> str:
        """The answer to a prompt."""
        response = self.request("POST", "/api/chat/", json.dumps({"prompt": prompt}).encode())
        assert response.status == 200, response
        return str(json.loads(response.body)["answer"])

    def metric(self, family: str, **labels: str) -> float:
        """What Prometheus would see."""
        with self.pod.network():
            page = raw_http.request(f"{FROM_OUTSIDE}:9180", "GET", "/metrics")
        return total(page.body.decode(), family, **labels)

    def until_metric(self, wanted: float, family: str, **labels: str) -> None:
        """Waits for a value."""
        until(f"{family} = {wanted:g}", lambda: self.metric(family, **labels) == wanted, PATIENCE_SECONDS)


class Provider:
    """The simulated LLM behind a gate that is in the pod's network."""

    def __init__(self, stack: ExitStack, llm: SimulatedLLM, pod: Pod) -> None:
        self.opened = threading.Event()
        self.opened.set()
        with pod.network():
            self.gate = ScriptedWorker(always(Gate(llm, self.opened)), port=PROVIDER_PORT)
        stack.enter_context(self.gate)


@pytest.fixture(scope="session")
def containers(session_path: Path) -> Iterator[Containers]:
    """Podman with the images, which the first process that needs them builds and the last one removes."""
    folder = session_path / "containers"
    state = Containers(folder / "state")

    def make() -> None:
        for name in IMAGES:
            (folder / name).mkdir()
        images.build_siding(state, folder / "siding")
        images.build_chat(state, folder / "chat", Path(list(pythons().values())[-1]))

    def remove() -> None:
        state.remove()
        (folder / "built").unlink(missing_ok=True)

    with shared(folder, remove):
        once(folder / "built", make)
        yield state


@pytest.fixture
def start(containers: Containers, stack: ExitStack, tmp_path: Path) -> Callable[[Path], Pod]:
    """Starts the pod of a kustomization, with the simulated provider. One at a time: they have the same names."""

    def started(folder: Path) -> Pod:
        built = build(with_the_provider(folder, tmp_path))
        stack.enter_context(locked(containers.folder / "pod"))
        pod = stack.enter_context(Pod(containers, tmp_path, built, images=IMAGES, secrets=SECRETS))
        pod.until_probed("siding", "readinessProbe")
        return pod

    return started


def with_the_provider(folder: Path, directory: Path) -> Path:
    """The same kustomization with the simulated provider in OpenAI's place, for Siding and for the app."""
    config = build(folder).one("ConfigMap", "siding")["data"]["siding.toml"]
    assert "https://api.openai.com" in config
    changed = config.replace("https://api.openai.com", PROVIDER)
    patches = [
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"siding.toml": changed}},
        deployment_patch({"OPENAI_BASE_URL": f"{PROVIDER}/v1"}),
    ]
    patches[0]["metadata"] = {"name": "siding"}
    return overlay(directory / "with-the-provider", folder, patches=patches)


def deployment_patch(environment: dict[str, str]) -> dict[str, object]:
    """Variables of the app's container."""
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    template = {"spec": {"containers": [{"name": "chat", "env": variables}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat"},
        "spec": {"template": template},
    }


def overlay(
    directory: Path, base: Path, components: tuple[str, ...] = (), patches: list[dict[str, object]] | None = None
) -> Path:
    """A kustomization on top of another one."""

    def reached(folder: Path) -> str:
        return os.path.relpath(folder, directory)

    directory.mkdir()
    own = {
        "namespace": "chat",
        "resources": [reached(base)],
        "components": [reached(COMPONENTS / name) for name in components],
        "patches": [{"patch": yaml.safe_dump(patch)} for patch in patches or []],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return directory


def test_a_pod_of_the_example_answers_chats_and_is_watched_and_probed(start, stack, llm):
    pod = start(EXAMPLE)
    provider, client = Provider(stack, llm, pod), Client(pod)
    assert is_answer_to("What is a siding?", client.chat("What is a siding?"))
    asked = provider.gate.wait_for(1)
    assert asked.header("authorization") == f"Bearer {KEY}"
    assert KEY not in Path(f"/proc/{pod.pid('chat')}/environ").read_text(), "the app does not have the key"
    assert client.metric("siding_exchanges_total", mode="replay", outcome="answered") == 1
    assert client.metric("siding_calls_total", provider="openai", result="ok") == 1
    pod.until_probed("siding", "livenessProbe")
    with pytest.raises(ConnectionRefusedError), pod.network():
        raw_http.connect(f"{FROM_OUTSIDE}:8000")


def test_containers_of_the_example_can_do_nothing_but_their_work(start):
    pod = start(EXAMPLE)
    for name, user in (("siding", SIDING_USER), ("chat", CHAT_USER)):
        processes = pod.processes(name)
        assert processes, name
        for pid in processes:
            status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert set(status["Uid"].split()) == {str(user)}
            assert set(status["Gid"].split()) == {str(user)}
            assert [int(status[sort], 16) for sort in ("CapEff", "CapPrm", "CapBnd", "CapAmb")] == [0, 0, 0, 0]
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert "ro" in mount_options(pid, "/").split(",")


def mount_options(pid: int, path: str) -> str:
    """Of what a process sees mounted at a path."""
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return next(fields[5] for fields in mounts if fields[4] == path)


def test_a_changed_config_map_reaches_the_running_pod(start):
    pod = start(EXAMPLE)
    client, mount = Client(pod), pod.config_maps["siding"]
    text = (mount.folder / "siding.toml").read_text()
    assert client.metric("siding_workers_limit") == 2
    mount.update({"siding.toml": text.replace("workers = 2", "workers = 1")})
    client.until_metric(1, "siding_workers_limit")
    mount.update({"siding.toml": text.replace("workers = 2", "workers = 0")})
    client.until_metric(0, "siding_config_last_reload_successful")
    assert client.request("GET", "/api/fast/").status == 200


def test_a_slow_chat_under_way_when_the_pod_is_deleted_is_answered(start, stack, llm):
    pod = start(EXAMPLE)
    provider, client = Provider(stack, llm, pod), Client(pod)
    provider.opened.clear()
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(client.chat, "slow")
        client.until_metric(1, "siding_exchanges_suspended")
        ended = threads.submit(pod.delete)
        pod.until_probed("siding", "readinessProbe", 503)
        during = client.request("GET", "/api/fast/")
        assert (during.status, during.header("connection")) == (200, "close"), "who learns late of the end is served"
        assert not ended.done()
        provider.opened.set()
        assert is_answer_to("slow", slow.result())
        assert ended.result() == {"chat": 0, "siding": 0}


def test_the_app_is_reached_over_a_unix_socket_of_the_pod(start, stack, llm, tmp_path):
    bound = deployment_patch({"BIND": "unix:/run/siding/app.sock"})
    pod = start(overlay(tmp_path / "unix", EXAMPLE, ("unix-socket",), [bound]))
    assert "--backend" in container(pod.specification, "siding")["args"]
    Provider(stack, llm, pod)
    assert is_answer_to("over a socket", Client(pod).chat("over a socket"))
    with pytest.raises(ConnectionRefusedError), pod.network():
        raw_http.connect("127.0.0.1:8000")
