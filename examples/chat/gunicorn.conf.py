"""gunicorn settings, from the environment: the same project runs under every kind of worker."""

import os

bind = os.environ.get("BIND", "127.0.0.1:8000").split(",")
workers = int(os.environ.get("WORKERS", "2"))
threads = int(os.environ.get("THREADS", "1"))
worker_class = os.environ.get("WORKER_CLASS", "sync")
# A worker that is silent for this long is killed: longer than the slowest answer it waits for itself.
timeout = int(os.environ.get("TIMEOUT", "90"))
graceful_timeout = 5
backlog = 2048
accesslog = None
wsgi_app = "project.wsgi:application"
# Listens when the project is loaded, and workers start with it. Not for gevent, which must come first.
preload_app = os.environ.get("PRELOAD") == "1"
# Worker heartbeats go to memory: a slow disk must not look like a dead worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
