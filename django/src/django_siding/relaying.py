"""`relay()`: a stream to the client as it arrives, and the view once more to save it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain, islice
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from . import formats, transports
from .answer import Answer
from .capture import Capture, Misused, Terms
from .exchange import current_exchange
from .inline import InlineStream
from .journal import Record, body_of
from .marker import dress

OnComplete = Callable[[Answer], object]

NO_CALL = (
    "the `call` of relay() made no call that can be relayed: it must make one streaming call, "
    "through a synchronous client of httpx, httpx2, requests or urllib3, in this thread"
)
NOT_STREAMING = "the `call` of relay() did not ask for a stream: give it stream=True"


def relay(
    call: Callable[[], Any],
    *,
    format: str = "provider",
    on_complete: OnComplete | None = None,
    on_disconnect: str = "cancel",
    headers: Mapping[str, str] | None = None,
) -> HttpResponseBase:
    """The response that streams the answer to the one streaming call that `call` makes.

    Behind Siding the proxy streams while no worker waits, and the view runs once more for
    `on_complete`; elsewhere the stream is made in line. `format` is "provider" (its own bytes),
    "text" or "ui-message-stream". `on_complete` gets the `Answer` after the last byte.
    `on_disconnect` says what happens when the client leaves: "cancel" gives the call up, "finish"
    goes on to its end and `on_complete`. `headers` are added to the response; the proxy's is made
    before `call` has been answered, so what the view does to the returned one is lost there.

    Raises what the SDK raises if the provider fails before the first byte, ValueError for an
    unknown format, and RuntimeError if `call` does not make one streaming call.
    """
    terms = Terms(format, on_disconnect, dict(headers or {}))
    if current_exchange() is None:
        transports.install()
    capture = Capture(terms)
    with ExitStack() as held:
        held.callback(capture.close)
        stream = _begun(call, capture, held)
        if capture.record is not None:
            return _recorded(capture, capture.record, stream, on_complete)
        return _in_line(capture, stream, on_complete, held)


def _begun(call: Callable[[], Any], capture: Capture, held: ExitStack) -> Any:
    """What `call` returned, once the provider has begun to answer."""
    try:
        with capture.opened():
            stream = _entered(call(), capture, held)
    except Exception:
        # The client has had a stream all the same: `on_complete` is to know.
        if not capture.is_cut:
            raise
        return None
    except Misused as misused:
        if not capture.is_cut:
            raise RuntimeError(str(misused)) from None
        return None
    if not capture.has_call:
        raise RuntimeError(NOT_STREAMING if capture.made_others else NO_CALL)
    if not capture.is_begun:
        _refuse(capture, stream)
    if capture.headers.get("content-encoding", "identity") != "identity":
        raise RuntimeError("the provider compressed its stream, which relay() cannot read")
    return stream


def _entered(stream: Any, capture: Capture, held: ExitStack) -> Any:
    """Some SDKs make the call only when their stream is entered, or asked for its first item."""
    if not capture.has_call and hasattr(stream, "__enter__"):
        stream = held.enter_context(stream)
    if not capture.has_call and isinstance(stream, Iterator):
        stream = chain(list(islice(stream, 1)), stream)
    return stream


def _refuse(capture: Capture, stream: Any) -> None:
    """Fail as an SDK does, for libraries that return an error's answer like any other."""
    # What it says belongs to the exception, and its connection is free once it is read.
    if hasattr(stream, "read"):
        stream.read()
    else:
        getattr(stream, "content", None)
    if hasattr(stream, "raise_for_status"):
        stream.raise_for_status()
    raise RuntimeError(f"the provider answered {capture.status or 'nothing'}")


def _recorded(
    capture: Capture, record: Record, stream: Any, on_complete: OnComplete | None
) -> HttpResponseBase:
    """The proxy has made the call: save its answer, and deliver it if that has not been done."""
    raw = b"" if record.is_error else body_of(record.entry)
    translator = formats.translator(capture.terms.format, capture.url)
    content = translator.feed(raw)
    if record.cut_short is None:
        content += translator.finish()
    if on_complete is not None:
        on_complete(Answer.of(translator, record.cut_short, stream, raw))
    if record.is_relayed:
        return HttpResponse(status=204)
    return _streaming((content,), capture)


def _in_line(
    capture: Capture, stream: Any, on_complete: OnComplete | None, held: ExitStack
) -> StreamingHttpResponse:
    assert capture.tape is not None
    translator = formats.translator(capture.terms.format, capture.url)
    pieces = InlineStream(capture.tape, translator, stream, on_complete, capture.terms)
    response = _streaming(pieces, capture)
    # From here on the response is what closes it.
    pieces.held = held.pop_all()
    return response


def _streaming(content: Iterable[bytes], capture: Capture) -> StreamingHttpResponse:
    content_type = formats.content_type(
        capture.terms.format, capture.headers.get("content-type", "")
    )
    response = StreamingHttpResponse(content, content_type=content_type)
    dress(response, capture.terms)
    # It has made its call: nothing is to be waited for.
    response.is_relayed = True
    return response
