"""Responses that fit: a Lambda function may return 6,291,556 bytes, including what its JSON adds. Above that AWS answers 500.

A page ends earlier and has a next link. Any other response goes into the bucket, and the client is sent there by a URL that is signed
for a few minutes; under `LARGE_ANSWERS=refuse`, the error says what to ask for instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from bulkhead.api import rendering, showing
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.errors import AnswerTooLarge, Issue
from bulkhead.fhir import outcome
from bulkhead.store import files

URL_SECONDS = 300
"""Seconds for which the URL of a large response is valid."""

# Status and headers, and the bytes that API Gateway and Lambda add.
_HEADERS = 16_384
# The entries of a page differ in size: slightly fewer than fit on average.
_MARGIN = 0.9
# Any body below this size fits, whatever its content: no need to count.
_SMALL = 1_000_000
# A JSON string has a backslash before these, and writes these with up to six bytes.
_ESCAPED = re.compile(rb'["\\]')
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def fitted(request: Request, perform: Callable[[], Response]) -> Response:
    """The rendered response of `perform`, in a form that fits.

    A page is made again with fewer entries (`request.most_entries`, then `request.most_included`). AnswerTooLarge.
    """
    answered = perform()
    if request.method == "HEAD":
        return answered
    room = request.session.settings.response_limit - _HEADERS
    while True:
        answered.rendered = rendering.render(request, answered)
        body = answered.rendered[0]
        if len(body) < min(_SMALL, room // 6):
            return answered
        size = weight(body)
        if size <= room:
            return answered
        share = _MARGIN * room / size
        if answered.entries > 1:
            request.most_entries = max(1, int(answered.entries * share))
        elif answered.included:
            request.most_included = int(answered.included * share)
        else:
            return _elsewhere(request, answered, size)
        # The first attempt was not sent, so it showed nothing.
        request.session.shown.clear()
        answered = perform()


def weight(body: bytes) -> int:
    """Bytes of a body in a function's answer: as the text of a JSON string, or in base64, whichever is shorter."""
    return _as_text(body) if is_text(body) else _as_base64(body)


def is_text(body: bytes) -> bool:
    """Whether a body is sent as text: it is UTF-8, and shorter as text than in base64."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return len(body) < _SMALL or _as_text(body) <= _as_base64(body)


def _as_text(body: bytes) -> int:
    # Runtimes differ in whether they write characters outside ASCII directly or as \uXXXX: six bytes for two.
    others = len(body) - len(body.decode("ascii", "ignore"))
    return len(body) + len(_ESCAPED.findall(body)) + 5 * len(_CONTROL.findall(body)) + 2 * others


def _as_base64(body: bytes) -> int:
    return 4 * -(-len(body) // 3)


def _elsewhere(request: Request, answered: Response, size: int) -> Response:
    """The response that says where to fetch the large one; for a write, that it was done."""
    is_read = request.method == "GET" or request.route.operation in showing.READS
    if not is_read and "etag" in answered.headers:
        # For a write: as under `Prefer: return=minimal`.
        return Response(answered.status, headers=answered.headers)
    if request.session.settings.large_answers == "redirect":
        return _redirected(request, answered, size)
    told = f"the response has {size} bytes; the limit is {request.session.settings.response_limit}"
    if is_read:
        raise AnswerTooLarge(f"{told}: send Accept-Encoding: gzip, or ask for less with _elements, _summary or _count")
    done = f"the request was performed, but {told}: send Prefer: return=minimal, or Accept-Encoding: gzip"
    return Response(answered.status, outcome.outcome([Issue("too-costly", done, severity="warning")]))


def _redirected(request: Request, answered: Response, size: int) -> Response:
    assert answered.rendered is not None
    body, headers = answered.rendered
    store, name = request.store, f"{files.ANSWERS}{uuid4().hex}"
    content_type = headers.get("content-type", "application/octet-stream")
    files.put(
        store,
        name,
        body,
        content_type=content_type,
        content_encoding=headers.get("content-encoding"),
        content_disposition=headers.get("content-disposition"),
    )
    told = f"the response has {size} bytes: GET it at the Location, without a token, within {URL_SECONDS} seconds"
    # After a POST the client fetches the response by GET; a GET is repeated as it is.
    status = HTTPStatus.TEMPORARY_REDIRECT if request.method == "GET" else HTTPStatus.SEE_OTHER
    headers = {"location": files.url_to_get(store, name, URL_SECONDS), "cache-control": "no-store"}
    return Response(status, outcome.outcome([Issue("informational", told, severity="information")]), headers)
