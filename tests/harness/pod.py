"""A pod as a Deployment's template describes it, run by podman. What podman lacks is done here as the kubelet does it:
probes, hooks and the order of the end from the manifest, volumes as directories, a native sidecar as a container."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import raw_http
from harness.config_map import ConfigMapMount
from harness.containers import Containers
from harness.kustomize import Built, Manifest, container
from harness.network_namespace import Network
from harness.waiting import until

# A loopback address that answers for programs that listen on all of a pod's addresses, and for no others.
FROM_OUTSIDE = "127.0.0.2"
PATIENCE_SECONDS = 120.0
# What podman 4 refuses, cannot do without systemd, or without a network.
NOT_PODMANS = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports")

_numbers = itertools.count(1)


class Pod:
    """
    A context manager. `images` has for each image of the manifest, without registry and tag, the one to run. Secrets
    that the manifest names are in `containers`. `folders` of this machine are seen by all but sidecars, at these paths.
    """

    def __init__(
        self,
        containers: Containers,
        folder: Path,
        built: Built,
        *,
        images: dict[str, str],
        folders: dict[str, Path],
    ) -> None:
        deployment = built.one("Deployment")
        # Several may run at once.
        self.name = f"{deployment['metadata']['name']}-{os.getpid()}-{next(_numbers)}"
        self.specification: Manifest = deployment["spec"]["template"]["spec"]
        self.config_maps: dict[str, ConfigMapMount] = {}
        self.folder = folder
        self._containers, self._built, self._images, self._folders = containers, built, images, folders
        self._network: Network | None = None

    def __enter__(self) -> Pod:
        self.folder.mkdir(exist_ok=True)
        manifest = self.folder / "pod.json"
        manifest.write_text(json.dumps(self._manifest()))
        try:
            self._containers.podman("kube", "play", "--network=none", str(manifest))
            self._network = Network(self.pid(self.sidecars[0]))
            for name in [*self.sidecars, *self.apps]:
                self.until_probed(name, "startupProbe")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    @property
    def sidecars(self) -> list[str]:
        """Names of the native ones."""
        return [each["name"] for each in self.specification.get("initContainers", []) if is_sidecar(each)]

    @property
    def apps(self) -> list[str]:
        """Names of the main containers."""
        return [each["name"] for each in self.specification["containers"]]

    def pid(self, name: str) -> int:
        """The first process of a container; 0 when it has ended."""
        return int(self._containers.inspect(self._full(name))["State"]["Pid"])

    def processes(self, name: str) -> list[int]:
        """All processes of a container."""
        listed = self._containers.podman("top", self._full(name), "hpid").split()
        return [int(pid) for pid in listed[1:]]

    def log(self, name: str) -> str:
        """What a container wrote to standard output."""
        return self._containers.podman("logs", self._full(name))

    def run(self, name: str, *command: str) -> str:
        """Runs a command in a container, as kubectl exec does, and returns what it printed."""
        return self._containers.podman("exec", self._full(name), *command)

    @contextmanager
    def network(self) -> Iterator[None]:
        """What this thread connects to meanwhile is in the pod."""
        assert self._network, "the pod was not started"
        with self._network.entered():
            yield

    def until_probed(self, name: str, kind: str, status: int = 200) -> None:
        """Waits until a probe of the manifest, if there is one, has this answer."""
        probe = container(self.specification, name).get(kind)
        if probe:
            until(f"{status} from {name}'s {kind}", lambda: self.get(name, probe) == status, PATIENCE_SECONDS)

    def get(self, name: str, action: Manifest) -> int | None:
        """A probe or hook of a container, from the pod's address as the node does it: the status, if it is answered."""
        http = action["httpGet"]
        try:
            with self.network():
                address = f"{FROM_OUTSIDE}:{self._port(name, http['port'])}"
                return raw_http.request(address, "GET", http["path"], timeout=PATIENCE_SECONDS).status
        except (OSError, raw_http.Incomplete):
            return None

    def restart(self, name: str) -> None:
        """Stops a container and starts it anew, as the kubelet does: its preStop hook is called first."""
        self._pre_stop(name)
        self._containers.podman("restart", "--time", "10", self._full(name))

    def delete(self) -> dict[str, int]:
        """
        Ends it as the kubelet does: all preStop hooks at once; SIGTERM for each app when its hook is answered; SIGTERM
        for sidecars when the apps are gone, the last first. Returns exit codes.
        """
        names = [*self.sidecars, *self.apps]
        with ThreadPoolExecutor(len(names)) as threads:
            hooks = {name: threads.submit(self._pre_stop, name) for name in names}
            codes = threads.map(lambda name: self._terminate(name, hooks[name]), self.apps)
            ended = dict(zip(self.apps, codes, strict=True))
            for name in reversed(self.sidecars):
                ended[name] = self._terminate(name, hooks[name])
        return ended

    def _pre_stop(self, name: str) -> None:
        hook = container(self.specification, name).get("lifecycle", {}).get("preStop")
        if hook:
            status = self.get(name, hook)
            assert status == 200, f"{name}'s preStop hook got {status}"

    def _terminate(self, name: str, hook: Future[None]) -> int:
        hook.result()
        self._containers.podman("kill", "--signal", signal.SIGTERM.name, self._full(name))
        return int(self._containers.podman("wait", self._full(name)))

    def _port(self, name: str, port: int | str) -> int:
        """A name is looked up in the container's own ports, as the kubelet does."""
        if isinstance(port, int):
            return port
        ports = {each["name"]: each["containerPort"] for each in container(self.specification, name)["ports"]}
        return int(ports[port])

    def _full(self, name: str) -> str:
        return f"{self.name}-{name}"

    def _manifest(self) -> Manifest:
        playable = as_podman_plays(self.specification)
        for each in [*playable["initContainers"], *playable["containers"]]:
            each["image"] = self._images[each["image"].rsplit("/")[-1].split(":")[0]]
        playable["volumes"] = [self._volume(volume) for volume in self.specification.get("volumes", [])]
        for number, (path, folder) in enumerate(self._folders.items()):
            name = f"folder-{number}"
            playable["volumes"].append(_directory(name, folder))
            for each in [*playable["initContainers"], *playable["containers"]]:
                if each["name"] not in self.sidecars:
                    mount = {"name": name, "mountPath": path, "readOnly": True}
                    each["volumeMounts"] = [*each.get("volumeMounts", []), mount]
        # Otherwise podman removes init containers when they have ended, and fails where it believes they run.
        annotations = {"io.podman.annotations.init.container.type": "always"}
        metadata = {"name": self.name, "annotations": annotations}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": playable}

    def _volume(self, volume: Manifest) -> Manifest:
        """The same as a directory, as the kubelet lays it out."""
        path = self.folder / "volumes" / volume["name"]
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            self.config_maps[name] = ConfigMapMount(path, self._built.one("ConfigMap", name)["data"])
        else:
            assert "emptyDir" in volume, volume
            path.mkdir(parents=True)
            path.chmod(0o777)
        return _directory(volume["name"], path)

    def _remove(self) -> None:
        if self._network:
            self._network.close()
        self._containers.podman("pod", "rm", "--force", "--ignore", "--time", "0", self.name)


def _directory(name: str, path: Path) -> Manifest:
    return {"name": name, "hostPath": {"path": str(path), "type": "Directory"}}


def is_sidecar(init_container: Manifest) -> bool:
    """Whether an init container goes on beside the others."""
    return init_container.get("restartPolicy") == "Always"


def as_podman_plays(specification: Manifest) -> Manifest:
    """A pod's specification without what podman does not know: sidecars are containers, started before the others."""
    initial = specification.get("initContainers", [])
    sidecars = [each for each in initial if is_sidecar(each)]
    return {
        **specification,
        "initContainers": [_plain(each) for each in initial if not is_sidecar(each)],
        "containers": [_plain(each) for each in [*sidecars, *specification["containers"]]],
        # The kubelet does not restart what it ends.
        "restartPolicy": "Never",
    }


def _plain(container: Manifest) -> dict[str, Any]:
    kept = {key: value for key, value in container.items() if key not in (*NOT_PODMANS, "restartPolicy")}
    # Requests are shares of a node's processors; here everything that is in no container would go before.
    if "resources" in kept:
        kept["resources"] = {"limits": kept["resources"]["limits"]}
    return kept
