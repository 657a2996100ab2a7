"""The caches that Siding's is compared with, set up for the same work: whole answers to POST requests, told apart by
the request's body, and streams that several clients ask for at once."""

from __future__ import annotations

from pathlib import Path

from harness.siding import Siding
from proxies import THREADS, Nginx, Proxy
from tools import Missing

# A body is in memory as a whole. The key, body included, is at the beginning of the cache's file, which is read with
# one buffer; with open_file_cache the file is not opened each time.
NGINX = """
daemon off;
{user}
worker_processes {threads};
pid {directory}/caching-nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    client_body_in_single_buffer on;
    client_body_temp_path {directory}/caching-body;
    proxy_temp_path {directory}/caching-proxy;
    fastcgi_temp_path {directory}/caching-fastcgi;
    uwsgi_temp_path {directory}/caching-uwsgi;
    scgi_temp_path {directory}/caching-scgi;
    open_file_cache max=4096 inactive=1h;
    open_file_cache_valid 1h;
    proxy_cache_path {directory}/caching-answers levels=1:2 keys_zone=answers:16m inactive=1h max_size=256m;
    upstream app {{ server {app}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffer_size 20k;
            proxy_buffers 8 20k;
            proxy_cache answers;
            proxy_cache_methods GET HEAD POST;
            proxy_cache_key "$request_uri|$request_body";
            proxy_cache_valid 200 1h;
        }}
    }}
}}
"""

BACKEND = """
vcl 4.1;
{imports}
backend app {{ .host = "{host}"; .port = "{port}"; }}
"""

# Varnish passes a POST on, and asks for what it stores with a GET, unless it is told otherwise.
BODIES = """
sub vcl_recv {
    std.cache_req_body(64KB);
    set req.http.X-Method = req.method;
    return (hash);
}
sub vcl_hash {
    hash_data(req.url);
    bodyaccess.hash_req_body();
    return (lookup);
}
sub vcl_backend_fetch {
    set bereq.method = bereq.http.X-Method;
    unset bereq.http.X-Method;
    return (fetch);
}
sub vcl_backend_response {
    set beresp.ttl = 1h;
    return (deliver);
}
"""

# All else is what Varnish does by itself: requests for an object that is being fetched share it as it comes.
STREAMS = """
sub vcl_backend_response {
    set beresp.ttl = 1s;
    set beresp.grace = 0s;
}
"""

# More than the connections of any figure, so that no request waits for a worker.
WORKERS = 1000

LOGGED = (
    *("SessOpen", "SessClose", "Begin", "End", "Link", "Timestamp", "ReqStart", "ReqMethod", "ReqURL", "ReqProtocol"),
    *("ReqHeader", "ReqUnset", "ReqAcct", "RespProtocol", "RespStatus", "RespReason", "RespHeader", "RespUnset"),
    *("VCL_call", "VCL_return", "Hit"),
)


class CachingNginx(Nginx):
    """With files for a cache."""

    kind = "caching-nginx"
    template = NGINX


class Varnish(Proxy):
    """Debian's, with memory for a cache and its own number of threads. What it logs of each request, in memory, is left
    out as the others' access logs are: it takes a quarter of the processor time of a hit."""

    def __init__(self, directory: Path, app: str, *, by_body: bool) -> None:
        """`by_body` is for POST requests, otherwise for streams."""
        super().__init__(directory, "varnish")
        host, port = app.rsplit(":", 1)
        imports = "import std;\nimport bodyaccess;" if by_body else ""
        configuration = directory / f"{self.log_path.stem}.vcl"
        rules = BODIES if by_body else STREAMS
        configuration.write_text(BACKEND.format(imports=imports, host=host, port=port) + rules)
        # No jail: the directory is this user's alone.
        self.command = ["varnishd", "-F", "-j", "none", "-n", str(directory / self.log_path.stem)]
        self.command += ["-a", self.address, "-f", str(configuration), "-s", "malloc,256m"]
        self.command += ["-p", "vsl_mask=" + ",".join(f"-{tag}" for tag in LOGGED)]


def require_body_access() -> None:
    """Varnish's module that reads a request's body is not part of Varnish."""
    if not list(Path("/usr/lib").glob("**/varnish/vmods/libvmod_bodyaccess.so")):
        raise Missing("this figure needs more: apt install varnish-modules")


def caching_siding(directory: Path, app: str, method: str, ttl: str) -> Siding:
    """With a cache for all requests of a method, whoever sends them, and room for all that it lets through."""
    cache = {"ttl": ttl, "scope": "public"}
    settings = {
        "log": {"filter": "warn"},
        "server": {"threads": THREADS},
        "backend": {"workers": WORKERS},
        "cache": {"capacity": "256MiB", "ttl": "10m"},
        "routes": [{"path": "/**", "methods": [method], "handoff": False, "cache": cache}],
    }
    return Siding(directory, app, settings=settings)
