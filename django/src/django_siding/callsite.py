"""Where in the app a call is made."""

from __future__ import annotations

import os
import sys
import sysconfig
import zlib
from types import FrameType

from django.conf import settings as django_settings

MAXIMUM_BYTES = 480  # of the protocol's 512; the occurrence follows

# Frames of these are never the caller, not even of an app that is among the packages itself.
CLIENTS = frozenset(
    """
    anthropic anyio backoff boto3 botocore django_siding google h11 httpcore httpcore2 httpx httpx2
    litellm mistralai openai opentelemetry pydantic requests requests_toolbelt s3transfer sentry_sdk
    sniffio stainless tenacity urllib3 wrapt
    """.split()
)

CLIENT = ""
LIBRARY = "library"
BOUNDARY = "boundary"
APP = "app"

_kinds: dict[str, str] = {}
_labels: dict[str, str] = {}


def callsite(depth: int = 1) -> str:
    """`file:function:line` of the first frame outside libraries, and a mark of how it was reached.

    Most apps have one function through which all their calls go. Without the mark its callers would
    be one place, and a view that skips a step in a later pass would get another step's answer.
    """
    first, *callers = _frames(depth + 1)
    site = _describe(first)
    if not callers:
        return site
    mark = zlib.crc32("\n".join(map(_describe, callers)).encode())
    return f"{site}~{mark:08x}"


def _frames(depth: int) -> list[FrameType]:
    """The app's frames, innermost first.

    An app that is itself installed among the libraries has all frames that are no HTTP client's.
    Django's handler ends the search: below it is the server.
    """
    innermost: FrameType = sys._getframe(depth)
    frame: FrameType | None = innermost
    app = []
    installed = []
    while frame is not None:
        filename = frame.f_code.co_filename
        kind = _kinds.get(filename)
        if kind is None:
            kind = _kinds[filename] = _classify(filename)
        if kind is APP:
            app.append(frame)
        elif kind is LIBRARY:
            installed.append(frame)
        elif kind is BOUNDARY:
            break
        frame = frame.f_back
    return app or installed or [innermost]


def _describe(frame: FrameType) -> str:
    code = frame.f_code
    label = _labels.get(code.co_filename)
    if label is None:
        label = _labels[code.co_filename] = _label(frame)
    return f"{label}:{code.co_name}:{frame.f_lineno}"


def _label(frame: FrameType) -> str:
    """The file relative to BASE_DIR, else the module: the same in every container."""
    filename = frame.f_code.co_filename
    base = getattr(django_settings, "BASE_DIR", None)
    label = str(frame.f_globals.get("__name__", "unknown"))
    if base is not None and _classify(filename) is APP:
        root = os.path.join(os.path.abspath(base), "")
        if filename.startswith(root):
            label = filename[len(root) :].replace(os.sep, "/")
    return label.encode()[-MAXIMUM_BYTES + 100 :].decode(errors="ignore")


def _classify(filename: str) -> str:
    if filename.startswith("<"):
        return LIBRARY
    path = filename.replace(os.sep, "/")
    if path.endswith(_HANDLERS):
        return BOUNDARY
    if path.startswith(_OWN):
        return CLIENT
    for marker in ("/site-packages/", "/dist-packages/"):
        _, installed, relative = path.rpartition(marker)
        if installed:
            return CLIENT if relative.split("/")[0].removesuffix(".py") in CLIENTS else LIBRARY
    # The standard library is never the caller: its frames are a view's wrappers.
    return CLIENT if path.startswith(_STDLIB) else APP


def _directories(*paths: str) -> tuple[str, ...]:
    """As written and as resolved: either may be in a code object."""
    spellings = {resolve(path) for path in paths for resolve in (os.path.abspath, os.path.realpath)}
    return tuple(os.path.join(path, "").replace(os.sep, "/") for path in spellings)


_HANDLERS = ("/django/core/handlers/base.py", "/django/core/handlers/exception.py")
_OWN = _directories(os.path.dirname(__file__))
_STDLIB = _directories(
    sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)
)
