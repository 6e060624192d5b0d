"""read, vread, create, update, patch and delete, by id and by criteria (R4 http.html). `operations` has the operations."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from bulkhead import resources
from bulkhead.api.request import Request
from bulkhead.api.response import Response, version_headers, written
from bulkhead.errors import BadRequest
from bulkhead.fhir import json
from bulkhead.store.preconditions import not_modified

if TYPE_CHECKING:
    from bulkhead.resources.conditions import Condition
    from bulkhead.resources.patches import Patch

CREATED, OK, NO_CONTENT, NOT_MODIFIED = 201, 200, 204, 304
# Parameters of a URL that decide the form of the response.
_FORMS = frozenset({"_format", "_pretty", "_summary", "_elements"})


def _key(request: Request) -> str:
    return resources.key_of(request.parameters["type"], request.parameters["id"])


def _condition(request: Request) -> Condition:
    """The criteria in the query of a conditional update, patch or delete."""
    # Imported here, like the conditional interactions: most requests name an id and need no search engine.
    from bulkhead.resources.conditions import condition_for

    resource_type = resources.known_type(request.parameters["type"])
    criteria = urlencode([pair for pair in request.query if pair[0] not in _FORMS])
    return condition_for(request.session, resource_type, criteria, expression="request.url", base=request.base)


def read(request: Request) -> Response:
    """`GET [base]/Type/id`, whole or as `_summary` or `_elements` select; 304 under `If-None-Match` and `If-Modified-Since`."""
    head = resources.read(request.session, _key(request))
    headers = version_headers(head)
    if not_modified(head, request.headers.get("if-none-match"), request.headers.get("if-modified-since")):
        # The reader looks at what it kept: that is a read of this version, and who asks `*` learns its time.
        request.note_shown(head)
        return Response(NOT_MODIFIED, headers=headers)
    return Response(OK, request.subset(request.show(request.store.version(head))), headers)


def vread(request: Request) -> Response:
    """`GET [base]/Type/id/_history/version`."""
    head = resources.read_version(request.session, _key(request), request.parameters["version"])
    return Response(OK, request.subset(request.show(request.store.version(head))), version_headers(head))


def create(request: Request) -> Response:
    """`POST [base]/Type`; a conditional create with `If-None-Exist`, or with criteria in the query, as in Aidbox."""
    resource_type = resources.known_type(request.parameters["type"])
    resource = resources.checked(request.resource(), resource_type, base=request.base)
    header = _criteria_in_header(request)
    # Parameters that begin with _ , such as Medplum's _filename, control the create and do not select a resource.
    own = urlencode([pair for pair in request.query if not pair[0].startswith("_")])
    criteria = own if header is None else header
    condition = None
    if criteria or header is not None:
        from bulkhead.resources.conditions import condition_for

        place = "request.url" if header is None else "If-None-Exist"
        condition = condition_for(request.session, resource_type, criteria, expression=place, base=request.base)
    head, made = resources.create(request.session, resource, condition)
    return written(request, head, CREATED if made else OK)


def _criteria_in_header(request: Request) -> str | None:
    """`If-None-Exist`; BadRequest if it is neither ASCII nor UTF-8 (servers pass on a header's octets as Latin-1)."""
    text = request.headers.get("if-none-exist")
    if text is None or text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeEncodeError:
        # A server has already decoded it as UTF-8.
        return text
    except UnicodeDecodeError:
        raise BadRequest("the criteria must be UTF-8, percent-encoded or not", "If-None-Exist") from None


def update(request: Request) -> Response:
    """`PUT [base]/Type/id`; it creates the resource if the id is new."""
    if not resources.ID.fullmatch(request.parameters["id"]):
        raise BadRequest("an id must have 1 to 64 letters, digits, - and .", "id")
    key = _key(request)
    resource = resources.checked(
        request.resource(), request.parameters["type"], request.parameters["id"], base=request.base
    )
    head, made = resources.update(
        request.session,
        resource,
        key,
        if_match=request.headers.get("if-match"),
        if_none_match=request.headers.get("if-none-match"),
    )
    return written(request, head, CREATED if made else OK)


def conditional_update(request: Request) -> Response:
    """`PUT [base]/Type?criteria`."""
    from bulkhead.resources import conditional

    condition = _condition(request)
    resource = resources.checked(request.resource(), condition.type, base=request.base)
    head, made = conditional.update(
        request.session,
        resource,
        condition,
        if_match=request.headers.get("if-match"),
        if_none_match=request.headers.get("if-none-match"),
    )
    return written(request, head, CREATED if made else OK)


def patch(request: Request) -> Response:
    """`PATCH [base]/Type/id` with JSON Patch or FHIRPath Patch."""
    key = _key(request)
    if_match = request.headers.get("if-match")
    head = resources.patch(request.session, key, _patch(request), if_match=if_match, url=request.base)
    return written(request, head, OK)


def conditional_patch(request: Request) -> Response:
    """`PATCH [base]/Type?criteria`."""
    from bulkhead.resources import conditional

    condition = _condition(request)
    if_match = request.headers.get("if-match")
    head = conditional.patch(request.session, condition, _patch(request), if_match=if_match, url=request.base)
    return written(request, head, OK)


def _patch(request: Request) -> Patch:
    from bulkhead.resources import patches

    if request.content_type == patches.JSON_PATCH:
        return patches.json_patch.parse(request.body)
    if request.content_type == patches.merge_patch.MEDIA_TYPE:
        return patches.merge_patch.parse(json.loads(request.body))
    return patches.from_document(request.resource())


def delete(request: Request) -> Response:
    """`DELETE [base]/Type/id`: 204 even if there was nothing to delete."""
    head = resources.delete(request.session, _key(request), request.headers.get("if-match"))
    return Response(NO_CONTENT, headers=version_headers(head) if head else {})


def conditional_delete(request: Request) -> Response:
    """`DELETE [base]/Type?criteria`: 204 even if nothing matches."""
    from bulkhead.resources import conditional

    condition = _condition(request)
    deleted = conditional.delete(request.session, condition, request.headers.get("if-match"))
    return Response(NO_CONTENT, headers=version_headers(deleted[0]) if len(deleted) == 1 else {})
