"""Answers that fit: what a Lambda function answers has at most 6,291,556 bytes, with what its JSON adds. Beyond that AWS says 500.

A page ends earlier and gives a next link. Anything else is put into the bucket, and the client is sent there by a URL that is signed for
a few minutes; or, under `LARGE_ANSWERS=refuse`, it is told what to ask for instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from bulkhead.api import rendering, trail
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.errors import AnswerTooLarge, Issue
from bulkhead.fhir import outcome
from bulkhead.store import files

URL_SECONDS = 300
"""How long the URL of a large answer holds."""

# Status and headers, and what API Gateway and Lambda write around them.
_HEADERS = 16_384
# The entries of a page differ in size: somewhat fewer than would fit on the average.
_MARGIN = 0.9
# Below this a body fits, whatever is in it: nobody counts.
_SMALL = 1_000_000
# A JSON string has a backslash before these, and these as up to six bytes.
_ESCAPED = re.compile(rb'["\\]')
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def fitted(request: Request, perform: Callable[[], Response]) -> Response:
    """What `perform` answers, rendered, in a form that fits.

    A page is asked for again, with fewer entries (`request.most_entries`, then `request.most_included`). AnswerTooLarge.
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
        # What was not sent was not shown.
        request.session.shown.clear()
        answered = perform()


def weight(body: bytes) -> int:
    """Bytes of a body in a function's answer: as the text of a JSON string, or in base64, whichever is shorter."""
    return _as_text(body) if is_text(body) else _as_base64(body)


def is_text(body: bytes) -> bool:
    """Whether a body is sent as text: it is UTF-8, and shorter so than in base64."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return len(body) < _SMALL or _as_text(body) <= _as_base64(body)


def _as_text(body: bytes) -> int:
    # Runtimes differ in whether they write other characters than ASCII's as they are or as \uXXXX: six bytes for two.
    others = len(body) - len(body.decode("ascii", "ignore"))
    return len(body) + len(_ESCAPED.findall(body)) + 5 * len(_CONTROL.findall(body)) + 2 * others


def _as_base64(body: bytes) -> int:
    return 4 * -(-len(body) // 3)


def _elsewhere(request: Request, answered: Response, size: int) -> Response:
    """Where the answer can be fetched; or, of what has been written, that it was."""
    is_read = request.method == "GET" or request.route.operation in trail.READS
    if not is_read and "etag" in answered.headers:
        # Of a write: as `Prefer: return=minimal` has it.
        return Response(answered.status, headers=answered.headers)
    if request.session.settings.large_answers == "redirect":
        return _redirected(request, answered, size)
    told = f"the answer has {size} bytes, and one may have {request.session.settings.response_limit}"
    if is_read:
        raise AnswerTooLarge(f"{told}: send Accept-Encoding: gzip, or ask for less by _elements, _summary or _count")
    done = f"the request was carried out, but {told}: send Prefer: return=minimal, or Accept-Encoding: gzip"
    return Response(answered.status, outcome.outcome([Issue("too-costly", done, severity="warning")]))


def _redirected(request: Request, answered: Response, size: int) -> Response:
    assert answered.rendered is not None
    body, headers = answered.rendered
    store, name = request.store, f"{files.ANSWERS}{uuid4().hex}"
    content_type = headers.get("content-type", "application/octet-stream")
    files.put(store, name, body, content_type, headers.get("content-encoding"), headers.get("content-disposition"))
    told = f"the answer has {size} bytes: GET it at the Location, without a token, within {URL_SECONDS} seconds"
    # Of a POST the answer is fetched by GET; a GET is to be repeated as it is.
    status = HTTPStatus.TEMPORARY_REDIRECT if request.method == "GET" else HTTPStatus.SEE_OTHER
    headers = {"location": files.url_to_get(store, name, URL_SECONDS), "cache-control": "no-store"}
    return Response(status, outcome.outcome([Issue("informational", told, severity="information")]), headers)
