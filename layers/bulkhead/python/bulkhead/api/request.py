"""A request as interactions and operations see it. It knows HTTP, but no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from bulkhead.api import binary, formats, matching, showing
from bulkhead.errors import BadRequest, UnsupportedMediaType
from bulkhead.fhir import compression, json, queries, subset
from bulkhead.session import Shown

if TYPE_CHECKING:
    from bulkhead.access.policy import Caller
    from bulkhead.fhir.json import JsonResource
    from bulkhead.session import Session
    from bulkhead.store import Head, Store, Version

FORM = "application/x-www-form-urlencoded"
WHOLE = "false"
"""The `_summary` that leaves a resource whole."""
TAKES_FORMS = ("/_search", "/$everything", "/$lastn", "/$find")
"""Ends of the paths whose parameters may come as a form in the body."""


@dataclass(frozen=True, slots=True)
class Prefer:
    """The `Prefer` header: `return=`, `handling=`, `respond-async`."""

    returns: str = ""
    handling: str = "lenient"
    respond_async: bool = False


class Request:
    """One request as the operations see it."""

    def __init__(
        self,
        method: str,
        path: str,
        session: Session,
        *,
        headers: Mapping[str, str],
        query: str = "",
        body: bytes = b"",
    ) -> None:
        """`path` as it was sent, from `/fhir/R4` on, percent-encoded; names of `headers` in lower case; `body` as it was sent.

        `most_entries` and `most_included` bound a page, once a larger one has been found not to fit: see `fitting`.
        """
        self.method, self.path, self.session, self.headers = method, path, session, headers
        self.query_string, self.sent = query, body
        self.route, self.parameters = matching.match(method, path)
        self.most_entries: int | None = None
        self.most_included: int | None = None

    @property
    def caller(self) -> Caller:
        """The sender of the request. Unauthorized without a token where one is needed."""
        return self.session.caller

    @property
    def base(self) -> str:
        """The base URL that the client used, without a slash at its end."""
        return self.session.base

    @property
    def store(self) -> Store:
        return self.session.store

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """Query parameters in order, then those of a form in the body of a `_search` or of an operation that reads (TAKES_FORMS).

        Other bodies never count as parameters: messages repeat parameters, and a resource that was sent as a form is not one.
        """
        pairs = queries.pairs(self.query_string, "request.url")
        takes_form = self.method == "POST" and self.route.path.endswith(TAKES_FORMS)
        if takes_form and self.content_type == FORM:
            try:
                form = self.body.decode()
            except UnicodeDecodeError:
                raise BadRequest("the form is not UTF-8", json.BODY) from None
            pairs += queries.pairs(form, json.BODY)
        return pairs

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def body(self) -> bytes:
        """The body, inflated where it is gzip (RFC 9110 8.4.1.3: x-gzip is the same). BadRequest, PayloadTooLarge, UnsupportedMediaType."""
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        limit = self.session.settings.request_limit
        if encoding in ("gzip", "x-gzip"):
            return compression.inflate(self.sent, limit)
        if encoding not in ("identity", ""):
            raise UnsupportedMediaType("the server reads gzip only", "Content-Encoding")
        compression.within(self.sent, limit)
        return self.sent

    def resource(self) -> dict[str, Any]:
        """The resource in the body, parsed and not yet validated; raw bytes as a Binary. BadRequest, UnsupportedMediaType."""
        content_type = self.headers.get("content-type", "")
        if self.is_binary:
            context = self.headers.get("x-security-context")
            return binary.received(content_type, self.body, self.parameters.get("id"), security_context=context)
        return formats.parsed(formats.received(content_type, self.body), self.body)

    @property
    def is_binary(self) -> bool:
        """Whether the request is about a Binary, so that raw bytes may come or go."""
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
        """A parameter of the query string only: an error must be rendered whatever the body is."""
        given: dict[str, str] = dict(parse_qsl(self.query_string))
        return given.get(name, "")

    def subset(self, resource: JsonResource) -> JsonResource:
        """The part of a resource that `_summary` and `_elements` select. BadRequest."""
        summary, names = self.selection
        if summary != WHOLE:
            return subset.summary(json.plain(resource), summary)
        return subset.elements(json.plain(resource), names) if names else resource

    @property
    def selection(self) -> tuple[str, list[str]]:
        """`_summary` of a read (WHOLE where it is absent), and the names in every `_elements`. BadRequest for two `_summary`."""
        summaries = [text for name, text in self.query if name == "_summary" and text]
        if len(summaries) > 1:
            raise BadRequest("_summary may occur only once", "_summary")
        named = [part for name, text in self.query if name == "_elements" for part in text.split(",") if part]
        return summaries[0] if summaries else WHOLE, named

    @cached_property
    def prefer(self) -> Prefer:
        """The preferences; of one that is given more than once the first counts (RFC 7240, section 2)."""
        given: dict[str, str] = {}
        respond_async = False
        for word in self.headers.get("prefer", "").replace(";", ",").split(","):
            name, _, value = word.strip().partition("=")
            name, value = name.strip().lower(), value.strip().strip('"')
            if name == "return":
                given.setdefault("returns", value)
            elif name == "handling" and value in ("strict", "lenient"):
                given.setdefault("handling", value)
            elif name == "respond-async":
                respond_async = True
        handling = given.get("handling", self.session.settings.search_handling)
        return Prefer(given.get("returns", ""), handling, respond_async)

    def note_shown(self, head: Head) -> None:
        """Puts a version into the read log, if reading it is recorded: what the answer shows, or tells of."""
        if showing.is_recorded(self.session, self.route.operation, head):
            self.session.shown.append(Shown(self.route.operation, head))

    def note_told(self, head: Head) -> None:
        """The same for a version that the answer names and does not show, where the request has not made it.

        Criteria that found it, or a patch that changes nothing, tell what it holds.
        """
        if not self.session.has_committed(head):
            self.note_shown(head)

    def represent(self, head: Head, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A version as this client sees it, with another `body` where one is given.

        Every resource is shown through here or `show`: both write the read log that the audit needs.
        """
        from bulkhead.resources import represent
        from bulkhead.store import Version

        self.note_shown(head)
        version = self.store.version(head) if body is None else Version(head, lambda _: body)
        return represent(version, self.session.definitions, extended=self.session.extended)

    @cached_property
    def show(self) -> Callable[[Version], JsonResource]:
        """The same for a version, as JSON where that takes no parsing; under the definitions that are in force when the first is shown."""
        from bulkhead.resources import represent, splice

        known, extended = self.session.definitions, self.session.extended

        def shown(version: Version) -> JsonResource:
            self.note_shown(version.head)
            return splice(version, known, extended=extended) or represent(version, known, extended=extended)

        return shown
