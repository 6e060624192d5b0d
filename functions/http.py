"""The HTTP edge: API Gateway events in, operations called, answers out. Every error becomes an OperationOutcome here."""

from __future__ import annotations

import base64
import gzip
import re
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from bulkhead import access, settings
from bulkhead.errors import (
    BadRequest,
    BulkheadError,
    Issue,
    MethodNotAllowed,
    NotAcceptable,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from bulkhead.model import compression, json, outcome, subset
from bulkhead.store import Head, connect, one_request
from functions import binary, formats, trail
from infra.routes import BASE, BY_KEY, ROUTES, Route, fits

if TYPE_CHECKING:
    from bulkhead.store import Store

FORM = "application/x-www-form-urlencoded"
# Below this, compressing costs more than it saves.
_GZIP_FROM = 1400
RETRY_AFTER = "1"
"""Seconds after which a client may ask again."""

logger = Logger(service="bulkhead", level=settings.current().log_level, log_uncaught_exceptions=False)

Event = dict[str, Any]
Operation = Callable[["Request"], "Answer"]


@dataclass(slots=True)
class Answer:
    """What an operation answers: a resource, nothing, or a ready body: JSON, or with a `content-type` of its own anything."""

    status: int
    resource: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Prefer:
    """The `Prefer` header: `return=`, `handling=`, `respond-async`."""

    returns: str = ""
    handling: str = "lenient"
    respond_async: bool = False


class Request:
    """One request as the operations see it."""

    def __init__(self, event: Event, route: Route) -> None:
        self._event = event
        self.route = route
        context = event["requestContext"]
        self.method: str = context["http"]["method"]
        self.path: str = event["rawPath"]
        self.headers: Mapping[str, str] = event["headers"]
        self.parameters: Mapping[str, str] = event.get("pathParameters") or {}
        claims = (context.get("authorizer") or {}).get("jwt", {}).get("claims")
        self._claims: Mapping[str, str] | None = claims
        self.address: str = context["http"].get("sourceIp", "")
        self.shown: list[trail.Shown] = []
        """What the audit trail has to tell of before this request is answered."""

    @cached_property
    def caller(self) -> access.Caller:
        """Who sent the request; Unauthorized without a token where one is needed."""
        return replace(access.caller(self._claims, settings.current().auth), address=self.address)

    @cached_property
    def base(self) -> str:
        """The base URL that the client used, without a slash at its end."""
        configured = settings.current().base_url
        if configured:
            return configured.rstrip("/")
        host = self.headers.get("host") or self._event["requestContext"].get("domainName", "localhost")
        return f"{self.headers.get('x-forwarded-proto', 'https')}://{host}{BASE}"

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """Query parameters in order, then those of a form in the body of a `_search`."""
        pairs = parse_qsl(self._event.get("rawQueryString", ""), keep_blank_values=True)
        if self.content_type == FORM:
            try:
                pairs += parse_qsl(self.body.decode(), keep_blank_values=True)
            except UnicodeDecodeError:
                raise BadRequest("the form is not UTF-8", json.BODY) from None
        return pairs

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def body(self) -> bytes:
        """The body, decoded from base64 and gzip. BadRequest, PayloadTooLarge, UnsupportedMediaType."""
        raw = self._event.get("body") or ""
        data = base64.b64decode(raw) if self._event.get("isBase64Encoded") else raw.encode()
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        limit = settings.current().request_limit
        if encoding == "gzip":
            return compression.inflate(data, limit)
        if encoding not in ("identity", ""):
            raise UnsupportedMediaType("the server reads gzip only", "Content-Encoding")
        compression.within(data, limit)
        return data

    def resource(self) -> dict[str, Any]:
        """The resource in the body, parsed and not yet validated; raw bytes as a Binary. BadRequest, UnsupportedMediaType."""
        content_type = self.headers.get("content-type", "")
        if self.is_binary:
            context = self.headers.get("x-security-context")
            return binary.received(content_type, self.body, self.parameters.get("id"), context)
        return formats.parsed(formats.received(content_type, self.body), self.body)

    @property
    def is_binary(self) -> bool:
        """Whether it is about a Binary, so that raw bytes may come or go."""
        return self.parameters.get("type") == "Binary" and self.route.operation in binary.OPERATIONS

    @cached_property
    def wanted(self) -> formats.Wanted:
        """The format that the client asks for. NotAcceptable."""
        received = formats.XML if "xml" in self.content_type else formats.JSON
        return formats.wanted(self._parameter("_format"), self.headers.get("accept", ""), received)

    @property
    def pretty(self) -> bool:
        return self._parameter("_pretty") == "true"

    def _parameter(self, name: str) -> str:
        """Of the query string only: an error has to be rendered whatever the body is."""
        given: dict[str, str] = dict(parse_qsl(self._event.get("rawQueryString", "")))
        return given.get(name, "")

    def subset(self, resource: dict[str, Any]) -> dict[str, Any]:
        """What `_summary` and `_elements` leave of a resource that is read. BadRequest."""
        given = dict(self.query)
        if given.get("_summary", "false") != "false":
            return subset.summary(resource, given["_summary"])
        return subset.elements(resource, given["_elements"].split(",")) if given.get("_elements") else resource

    @cached_property
    def prefer(self) -> Prefer:
        given = {"returns": "", "handling": settings.current().search_handling}
        respond_async = False
        for word in self.headers.get("prefer", "").replace(";", ",").split(","):
            name, _, value = word.strip().partition("=")
            name, value = name.strip().lower(), value.strip().strip('"')
            if name == "return":
                given["returns"] = value
            elif name == "handling" and value in ("strict", "lenient"):
                given["handling"] = value
            elif name == "respond-async":
                respond_async = True
        return Prefer(given["returns"], given["handling"], respond_async)

    @property
    def extended(self) -> bool:
        """Whether `meta.accounts` and `meta.compartment` are shown: see the setting EXTENDED_META."""
        return settings.current().extended_meta != "on-request" or self.headers.get("x-medplum") == "extended"

    @property
    def store(self) -> Store:
        return connect()

    def represent(self, head: Head, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A version as this client sees it."""
        from bulkhead import compartments
        from bulkhead.resources import represent

        if trail.is_recorded(self.route.operation, head):
            self.shown.append(trail.Shown(self.route.operation, head))
        known = compartments.in_force(self.store)
        return represent(head, self.store.decode(head) if body is None else body, known, self.extended)


def lambda_handler(operations: Mapping[str, Operation]) -> Callable[[Event, Any], Event]:
    """The Lambda handler of a function: `operations` by their names in the route table."""

    def handle(event: Event, context: Any) -> Event:
        return serve(event, operations)

    return handle


def serve(event: Event, operations: Mapping[str, Operation]) -> Event:
    """One API Gateway event (HTTP API, format 2.0) to its answer. API Gateway has chosen the route already: no second router."""
    begun = time.perf_counter()
    route = BY_KEY[event["routeKey"]]
    request = Request(event, route)
    try:
        if not request.is_binary:
            _ = request.wanted
        if not route.public:
            _ = request.caller
        with one_request():
            answer = _options(request) if request.method == "OPTIONS" else operations[route.operation](request)
            trail.record_reads(request)
    except BulkheadError as error:
        answer = _refused(request, error)
    except (ClientError, BotoCoreError) as error:
        _log_failure(error)
        answer = _failed(Unavailable("a service behind this server did not answer; try again"))
    except Exception as error:
        _log_failure(error)
        answer = _failed(BulkheadError("the server failed; its log has the cause"))
    try:
        made = _event(request, answer)
    except Exception as error:
        _log_failure(error)
        made = _event(request, _failed(BulkheadError("the server failed; its log has the cause")))
    logger.info(
        "request",
        operation=route.operation,
        method=request.method,
        status=made["statusCode"],
        milliseconds=round((time.perf_counter() - begun) * 1000, 1),
        request_id=event["requestContext"].get("requestId"),
    )
    return made


def _options(request: Request) -> Answer:
    """The methods of a path. They come by `$default`; API Gateway adds what CORS needs (infra/cors.py)."""
    methods = {route.method for route in ROUTES if fits(route.path, request.path)}
    return Answer(204, headers={"allow": ", ".join(sorted(methods | {"OPTIONS"}))})


def _refused(request: Request, error: BulkheadError) -> Answer:
    """The answer to a request that failed: unrecorded, a refusal is not even told."""
    try:
        trail.record_refusal(request, error)
    except (ClientError, BotoCoreError, BulkheadError) as failure:
        _log_failure(failure)
        return _failed(Unavailable("the refusal of this request could not be recorded; try again"))
    return _failed(error)


def _failed(error: BulkheadError) -> Answer:
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    if isinstance(error, Unavailable):
        headers["retry-after"] = RETRY_AFTER
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    return Answer(error.status, outcome.from_error(error), headers)


def _log_failure(error: Exception) -> None:
    """Where it failed, and with what class of error: never its text, which may quote a resource."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    logger.error("failure", error=type(error).__name__, code=code, where=where)


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, and not as what the client does not want (`gzip;q=0`)."""
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", accept_encoding) is not None


def _event(request: Request, answer: Answer) -> Event:
    body, headers = _content(request, answer)
    headers |= answer.headers
    made: Event = {"statusCode": answer.status, "headers": headers, "isBase64Encoded": False, "body": ""}
    if body and len(body) >= _GZIP_FROM and _takes_gzip(request.headers.get("accept-encoding", "")):
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body, 1)
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(body))
        return made
    try:
        made["body"] = body.decode()
    except UnicodeDecodeError:
        made["body"] = base64.b64encode(body).decode()
        made["isBase64Encoded"] = True
    return made


def _content(request: Request, answer: Answer) -> tuple[bytes, dict[str, str]]:
    """The body in the format that the client asked for, and the headers that belong to it."""
    resource = answer.resource
    if resource is None and (answer.body is None or "content-type" in answer.headers):
        return answer.body or b"", {}
    try:
        wanted = request.wanted
    except NotAcceptable:
        wanted = formats.DEFAULT
    is_read = request.is_binary and request.method in ("GET", "HEAD") and answer.status == 200
    if is_read and resource and binary.is_raw(wanted, resource):
        return binary.raw(resource)
    headers = {"content-type": f"{wanted.content_type}; charset=utf-8", "vary": "accept, accept-encoding"}
    if resource is None:
        assert answer.body is not None
        if wanted.format == formats.JSON:
            return answer.body, headers
        resource = json.loads(answer.body)
    return formats.rendered(wanted.format, resource, request.pretty), headers


def accepted(request: Request, job: str) -> Answer:
    """202: the answer comes later, at `Content-Location` (R5's asynchronous request pattern)."""
    issue = Issue("informational", f"accepted as job {job}; Content-Location tells of it", severity="information")
    location = {"content-location": f"{request.base}/job/{job}/status", "retry-after": RETRY_AFTER}
    return Answer(202, outcome.outcome([issue]), location)


def version_headers(head: Head) -> dict[str, str]:
    """`ETag` and `Last-Modified` of a version (R4 http.html#versioning)."""
    moment = datetime.fromisoformat(head.updated)
    return {"etag": f'W/"{head.version}"', "last-modified": format_datetime(moment, usegmt=True)}


def written(request: Request, head: Head, status: int) -> Answer:
    """The answer to a create or update: its version and location, and what `Prefer: return=` asks for."""
    headers = version_headers(head)
    headers["location"] = f"{request.base}/{head.key}/_history/{head.version}"
    returns = request.prefer.returns
    if returns == "minimal":
        return Answer(status, None, headers)
    if returns == "OperationOutcome":
        done = Issue("informational", f"{head.key} is at version {head.version}", severity="information")
        return Answer(status, outcome.outcome([done]), headers)
    return Answer(status, request.represent(head), headers)
