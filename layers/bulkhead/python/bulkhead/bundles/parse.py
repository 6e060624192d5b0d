"""From the JSON of a Bundle to its entries, each checked: what is wrong is a 400 that names the place."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from bulkhead import settings
from bulkhead.bundles.entries import Entry, Interaction, place
from bulkhead.errors import BadRequest, Issue, PayloadTooLarge
from bulkhead.fhir import validation
from bulkhead.fhir.definitions import RESOURCE_TYPES

TRANSACTION, BATCH = "transaction", "batch"

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_WRITES = {"PUT": Interaction.UPDATE, "PATCH": Interaction.PATCH, "DELETE": Interaction.DELETE}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

Faults = dict[int, BadRequest]
"""By the index of the entry."""


def bundle_type(bundle: dict[str, Any]) -> str:
    """`transaction` or `batch`. BadRequest for any other resource or Bundle, PayloadTooLarge for too many entries."""
    if bundle.get("resourceType") != "Bundle":
        raise BadRequest("the base takes a Bundle of type batch or transaction", expression="resourceType")
    if bundle.get("type") not in (TRANSACTION, BATCH):
        raise BadRequest("a Bundle that is processed has the type batch or transaction", expression="Bundle.type")
    if not isinstance(bundle.get("entry", []), list):
        raise BadRequest("entry must be an array", expression="Bundle.entry")
    limit = settings.current().entry_limit
    if len(bundle.get("entry", [])) > limit:
        raise PayloadTooLarge(f"a Bundle may have at most {limit} entries", expression="Bundle.entry")
    return str(bundle["type"])


def entries(bundle: dict[str, Any], base: str) -> tuple[list[Entry], Faults]:
    """The valid entries in request order, and the faults of the others. BadRequest where the Bundle itself is not valid.

    `base` is the URL of this server, such as `http://127.0.0.1:8000/fhir/R4`: urls of entries may begin with it.
    """
    bundle_type(bundle)
    check_bundle(bundle)
    given = bundle.get("entry", [])
    valid: list[Entry] = []
    found: Faults = {}
    for index, content in enumerate(given):
        try:
            _check_shell(index, content)
            valid.append(_entry(index, content, base))
        except BadRequest as error:
            found[index] = error
    _check_full_urls(valid, found)
    return [entry for entry in valid if entry.index not in found], found


def check_bundle(bundle: dict[str, Any]) -> None:
    """Everything of the Bundle but its entries. BadRequest."""
    issues = validation.faults({name: value for name, value in bundle.items() if name != "entry"}, "Bundle")
    if issues:
        raise BadRequest("the Bundle is not valid", issues=issues)


def _check_shell(index: int, content: Any) -> None:
    """Everything of an entry but its resource."""
    if isinstance(content, dict) and "request" not in content:
        raise _fault(index, "request", "an entry of a batch or transaction says in `request` what to do")
    shell = {n: v for n, v in content.items() if n != "resource"} if isinstance(content, dict) else content
    issues = validation.faults({"resourceType": "Bundle", "type": BATCH, "entry": [shell]}, "Bundle")
    if issues:
        raise BadRequest(
            "the entry is not valid", issues=[_renamed(i, "Bundle.entry[0]", place(index)) for i in issues]
        )


def _renamed(issue: Issue, start: str, to: str) -> Issue:
    return Issue(issue.code, issue.diagnostics, to + (issue.expression or start).removeprefix(start), issue.severity)


def _entry(index: int, content: dict[str, Any], base: str) -> Entry:
    request = content["request"]
    method, url = request["method"], _relative(request["url"], base)
    if method not in _METHODS:
        raise _fault(index, "request.method", f"the method is one of {', '.join(_METHODS)}")
    path, _, query = url.partition("?")
    segments = [unquote(segment) for segment in path.split("/")]
    resource = content.get("resource")
    interaction = _interaction(method, segments)
    entry = Entry(
        index=index,
        interaction=interaction,
        method=method,
        url=url,
        type=segments[0],
        id=segments[1] if len(segments) == 2 and interaction in _WRITES.values() else None,
        criteria=query or None,
        resource=resource,
        full_url=content.get("fullUrl"),
        if_match=request.get("ifMatch"),
        if_none_match=request.get("ifNoneMatch"),
        if_modified_since=request.get("ifModifiedSince"),
        if_none_exist=request.get("ifNoneExist"),
    )
    if interaction in _WRITES.values() or interaction is Interaction.CREATE:
        _check_target(entry, segments)
    if interaction in (Interaction.CREATE, Interaction.UPDATE):
        _check_resource(entry)
    if interaction is Interaction.PATCH and not isinstance(resource, dict):
        raise _fault(index, "resource", "a PATCH needs a Binary with JSON Patch, or a Parameters with FHIRPath Patch")
    return entry


def _interaction(method: str, segments: list[str]) -> Interaction:
    if method in _WRITES:
        return _WRITES[method]
    if method == "POST" and any(segment.startswith("$") for segment in segments):
        return Interaction.OPERATION
    if method == "POST" and segments[-1] != "_search":
        return Interaction.CREATE
    return Interaction.READ


def _relative(url: str, base: str) -> str:
    path, mark, query = url.removeprefix(base).lstrip("/").partition("?")
    return path.removesuffix("/") + mark + query


def _check_target(entry: Entry, segments: list[str]) -> None:
    """The url of a write names a type, and an id or criteria as the interaction wants it."""
    if entry.type not in RESOURCE_TYPES:
        raise _fault(entry.index, "request.url", "the url begins with a resource type of R4")
    if entry.interaction is Interaction.CREATE:
        if len(segments) != 1 or entry.criteria:
            raise _fault(entry.index, "request.url", "a create has the resource type alone as its url")
    elif len(segments) > 2 or (entry.id is None) == (entry.criteria is None):
        raise _fault(entry.index, "request.url", "the url is `Type/id`, or `Type?criteria`")
    elif entry.id is not None and not _ID.fullmatch(entry.id):
        raise _fault(entry.index, "request.url", "an id has 1 to 64 letters, digits, `-` and `.`")


def _check_resource(entry: Entry) -> None:
    resource = entry.resource
    if not isinstance(resource, dict):
        raise _fault(entry.index, "resource", f"a {entry.method} needs a resource")
    if resource.get("resourceType") != entry.type:
        raise _fault(entry.index, "resource.resourceType", "the resource is not of the type that request.url names")
    issues = validation.faults(resource, conditional_references=True)
    if issues:
        at = f"{entry.place}.resource"
        raise BadRequest("the resource is not valid", issues=[_renamed(issue, entry.type, at) for issue in issues])
    if entry.id is not None and resource.get("id") != entry.id:
        raise _fault(entry.index, "resource.id", "the id of the resource is the one in request.url")


def _check_full_urls(valid: list[Entry], found: Faults) -> None:
    """Two resources under one fullUrl: a reference to it could mean either (R4 Bundle invariant bdl-7)."""
    first: dict[str, int] = {}
    for entry in valid:
        if entry.full_url and entry.interaction in (Interaction.CREATE, Interaction.UPDATE):
            other = first.setdefault(entry.full_url, entry.index)
            if other != entry.index:
                found[entry.index] = _fault(entry.index, "fullUrl", f"the fullUrl is that of {place(other)} too")


def _fault(index: int, path: str, message: str) -> BadRequest:
    return BadRequest(message, expression=f"{place(index)}.{path}")
