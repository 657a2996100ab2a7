"""The example of deploy/kubernetes as a real pod: the image as it is shipped, the manifests as kubectl builds them, the
chat project under gunicorn."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from chat_project import is_answer_to, pythons
from harness import images, raw_http
from harness.containers import Containers
from harness.kustomize import EXAMPLE, build, container, of_the_app, overlay
from harness.metrics import total
from harness.once import once, shared
from harness.pod import FROM_OUTSIDE, Pod
from harness.providers import Gate
from harness.scripted_worker import ScriptedWorker
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.steps import always
from harness.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter a pod's network and start it like this")

PROVIDER_PORT = 9300
PROVIDER = f"http://127.0.0.1:{PROVIDER_PORT}"
PATIENCE_SECONDS = 60.0
KEY = "sk-only-siding-has-it"
IMAGES = {"siding": images.SIDING, "chat": images.CHAT}
SIDING_USER, CHAT_USER = 65532, 10001


class Client:
    """
    Who uses the app, and who operates it. The provider is behind a `gate` where calls wait while it is not `opened`.
    """

    def __init__(self, pod: Pod, gate: ScriptedWorker, opened: threading.Event) -> None:
        self.pod, self.gate, self.opened = pod, gate, opened

    def get(self, target: str) -> raw_http.Response:
        """A page of the app, through Siding, from outside of the pod."""
        with self.pod.network():
            return raw_http.request(f"{FROM_OUTSIDE}:8080", "GET", target, timeout=PATIENCE_SECONDS)

    def ask(self, prompt: str, path: str = "/api/ask/", token: str = "") -> str:
        """The answer to a prompt."""
        headers = [("Content-Type", "application/json"), *([("Authorization", f"Token {token}")] if token else [])]
        body = json.dumps({"prompt": prompt}).encode()
        with self.pod.network():
            response = raw_http.request(f"{FROM_OUTSIDE}:8080", "POST", path, headers, body, PATIENCE_SECONDS)
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

    def until_suspended(self, chat: Future[str]) -> None:
        """Waits until Siding has the call of the only chat under way; one that ends before is a failure."""
        until("its call", lambda: chat.done() or self.metric("siding_exchanges_suspended") == 1, PATIENCE_SECONDS)
        assert not chat.done(), chat.result()


@pytest.fixture(scope="session")
def containers(session_path: Path) -> Iterator[Containers]:
    """Podman with the images, which the first process that needs them builds and the last one removes."""
    # The same for all processes of a session, and short: podman takes no longer path than 50 characters.
    session = hashlib.sha256(str(session_path).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"siding-{session}"
    state = Containers(folder / "state")

    def make() -> None:
        for name in IMAGES:
            (folder / name).mkdir()
        images.build_siding(state, folder / "siding")
        images.build_chat(state, folder / "chat", chat_python())
        state.add_secret("siding", {"SIDING_SECRET": SECRET, "OPENAI_API_KEY": KEY})

    def remove() -> None:
        state.remove()
        shutil.rmtree(folder, ignore_errors=True)

    with shared(folder, remove):
        once(folder / "made", make)
        yield state


def chat_python() -> Path:
    """The interpreter of the newest Django that there is."""
    return Path(list(pythons().values())[-1])


@contextmanager
def running(containers: Containers, kustomization: Path, directory: Path) -> Iterator[Client]:
    """The pod of a kustomization of the example; the simulated provider is behind a gate in the pod's network."""
    built = build(with_the_provider(kustomization, directory))
    with ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory))
        folders = images.beside_chat(chat_python())
        pod = stack.enter_context(Pod(containers, directory / "pod", built, images=IMAGES, folders=folders))
        pod.until_probed("siding", "readinessProbe")
        opened = threading.Event()
        opened.set()
        with pod.network():
            gate = ScriptedWorker(always(Gate(llm, opened)), port=PROVIDER_PORT)
        yield Client(pod, stack.enter_context(gate), opened)


@pytest.fixture(scope="module")
def example(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The example's pod, for tests that leave it as they found it."""
    with running(containers, EXAMPLE, tmp_path_factory.mktemp("example")) as client:
        yield client


def with_the_provider(folder: Path, directory: Path) -> Path:
    """The same kustomization with the simulated provider in OpenAI's place, for Siding and for the app."""
    config = build(folder).one("ConfigMap", "siding")
    text = config["data"]["siding.toml"]
    assert "https://api.openai.com" in text
    config["data"]["siding.toml"] = text.replace("https://api.openai.com", PROVIDER)
    patches = [config, of_the_app({"OPENAI_BASE_URL": f"{PROVIDER}/v1"})]
    return overlay(directory / "with-the-provider", folder, patches=patches)


def test_a_pod_of_the_example_answers_chats_and_is_watched_and_probed(example):
    before = example.metric("siding_exchanges_total", mode="replay", outcome="answered")
    token = example.pod.run("chat", "python", "manage.py", "seed").strip()
    assert is_answer_to("What is a siding?", example.ask("What is a siding?", "/api/chat/", token))
    asked = example.gate.requests[-1]
    assert asked.header("authorization") == f"Bearer {KEY}"
    app = example.pod.pid("chat")
    assert KEY not in Path(f"/proc/{app}/environ").read_text(), "the app does not have the key"
    example.until_metric(before + 1, "siding_exchanges_total", mode="replay", outcome="answered")
    assert example.metric("siding_calls_total", provider="openai", result="ok") >= 1
    example.pod.until_probed("siding", "livenessProbe")
    with pytest.raises(ConnectionRefusedError), example.pod.network():
        raw_http.connect(f"{FROM_OUTSIDE}:8000")


def test_containers_of_the_example_can_do_nothing_but_their_work(example):
    for name, user in (("siding", SIDING_USER), ("chat", CHAT_USER)):
        processes = example.pod.processes(name)
        assert processes, name
        for pid in processes:
            status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert set(status["Uid"].split()) == {str(user)}
            assert set(status["Gid"].split()) == {str(user)}
            assert [int(status[sort], 16) for sort in ("CapEff", "CapPrm", "CapBnd", "CapAmb")] == [0, 0, 0, 0]
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert "ro" in mount_options(pid, "/")


def mount_options(pid: int, path: str) -> list[str]:
    """Of what a process sees mounted at a path."""
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return next(fields[5] for fields in mounts if fields[4] == path).split(",")


def test_a_changed_config_map_reaches_the_running_pod(example):
    mount = example.pod.config_maps["siding"]
    text = (mount.folder / "siding.toml").read_text()
    assert example.metric("siding_workers_limit") == 2
    mount.update({"siding.toml": text.replace("workers = 2", "workers = 1")})
    example.until_metric(1, "siding_workers_limit")
    mount.update({"siding.toml": text.replace("workers = 2", "workers = 0")})
    example.until_metric(0, "siding_config_last_reload_successful")
    assert example.get("/api/fast/").status == 200
    mount.update({"siding.toml": text})
    example.until_metric(2, "siding_workers_limit")


def test_a_pod_gets_traffic_again_after_its_app_alone_was_restarted(example):
    example.pod.restart("chat")
    example.pod.until_probed("siding", "readinessProbe")
    example.until_metric(0, "siding_draining")
    assert is_answer_to("Again?", example.ask("Again?"))


def test_a_slow_chat_under_way_when_the_pod_is_deleted_is_answered(containers, tmp_path):
    with running(containers, EXAMPLE, tmp_path) as client, ThreadPoolExecutor(2) as threads:
        client.opened.clear()
        slow = threads.submit(client.ask, "slow")
        client.until_suspended(slow)
        ended = threads.submit(client.pod.delete)
        client.pod.until_probed("siding", "readinessProbe", 503)
        during = client.get("/api/fast/")
        assert (during.status, during.header("connection")) == (200, "close"), "who learns late of the end is served"
        assert not ended.done()
        client.opened.set()
        assert is_answer_to("slow", slow.result())
        assert ended.result() == {"chat": 0, "siding": 0}


def test_the_app_is_reached_over_a_unix_socket_of_the_pod(containers, tmp_path):
    bound = of_the_app({"BIND": "unix:/run/siding/app.sock"})
    unix = overlay(tmp_path / "unix", EXAMPLE, ["unix-socket"], [bound])
    with running(containers, unix, tmp_path) as client:
        assert "--backend" in container(client.pod.specification, "siding")["args"]
        assert is_answer_to("over a socket", client.ask("over a socket"))
        with pytest.raises(ConnectionRefusedError), client.pod.network():
            raw_http.connect("127.0.0.1:8000")
