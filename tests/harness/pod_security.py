"""The restricted Pod Security Standard of Kubernetes: what a namespace that enforces it lets in."""

from __future__ import annotations

from collections.abc import Iterator

from harness.kustomize import Manifest

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
HOSTS = ("hostNetwork", "hostPID", "hostIPC")


def violations(pod: Manifest) -> list[str]:
    """One line for each thing in a pod's specification that is not let in."""
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    own = [f"{container['name']}: {fault}" for container in containers for fault in _of_container(container, pod)]
    hosts = [f"{name} is set" for name in HOSTS if pod.get(name)]
    kinds = [(volume["name"], kind) for volume in pod.get("volumes", []) for kind in volume if kind != "name"]
    return [*own, *hosts, *(f"volume {name} is of kind {kind}" for name, kind in kinds if kind not in VOLUMES)]


def _of_container(container: Manifest, pod: Manifest) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**pod.get("securityContext", {}), **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may escalate privileges"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
        yield "keeps capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "may run as root"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of the host"
