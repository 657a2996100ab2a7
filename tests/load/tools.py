"""Programs that figures need and Siding does not."""

from __future__ import annotations

import shutil

PACKAGES = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "heaptrack": "heaptrack",
    "c++filt": "binutils",
    "varnishd": "varnish",
}


class Missing(Exception):
    """What to install."""


def require(*names: str) -> None:
    """Fails with the names of Debian's packages where programs are missing."""
    absent = sorted(PACKAGES[name] for name in names if not shutil.which(name))
    if absent:
        raise Missing(f"this figure needs more: apt install {' '.join(absent)}")
