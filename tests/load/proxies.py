"""The proxies that Siding is compared with. Each passes everything on to one app, with as many threads."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.addresses import free_address, listens
from harness.process import BINARIES, ROOT, Process

THREADS = 2
ALLOCATOR = re.compile(r"#\[global_allocator\]\s*static \w+: ([\w:]+)")

NGINX = """
daemon off;
{user}
worker_processes {threads};
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream app {{ server {app}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


class Proxy(Process):
    """A proxy in front of `app`, an address."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(directory, name)
        self.address = free_address()

    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return listens(self.address)


class BarePingora(Proxy):
    """Pingora with nothing of Siding's."""

    def __init__(self, directory: Path, app: str, environment: dict[str, str]) -> None:
        super().__init__(directory, "bare-pingora")
        self.command = [str(BINARIES / "bare-pingora"), self.address, app, str(THREADS)]
        self.environment = environment


class Nginx(Proxy):
    """Debian's, with connections to the app kept."""

    kind = "nginx"
    template = NGINX

    def __init__(self, directory: Path, app: str) -> None:
        super().__init__(directory, self.kind)
        configuration = directory / f"{self.kind}.conf"
        # Its workers would otherwise be somebody who may not write here.
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(
            self.template.format(user=user, threads=THREADS, directory=directory, app=app, address=self.address)
        )
        self.command = ["nginx", "-c", str(configuration), "-p", str(directory), "-e", "stderr"]


def require_same_allocator() -> None:
    """Siding and the bare proxy declare the same one, or neither does."""
    crates = ROOT / "src", ROOT / "tests" / "load" / "bare-pingora" / "src"
    siding, bare = (ALLOCATOR.findall("".join(file.read_text() for file in crate.rglob("*.rs"))) for crate in crates)
    if siding != bare:
        raise RuntimeError(f"Siding's allocator is {siding}, the bare proxy's {bare}: make them the same")
