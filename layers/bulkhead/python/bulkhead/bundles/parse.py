"""Parses the JSON of a Bundle into checked entries. A fault is a 400 that names the place."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any
from urllib.parse import unquote

from bulkhead.bundles.entries import Entry, Interaction, place
from bulkhead.bundles.full_urls import root_of
from bulkhead.bundles.links import Kind, Link, find_links
from bulkhead.bundles.placeholders import named_in
from bulkhead.errors import BadRequest, Issue, PayloadTooLarge
from bulkhead.fhir import older_versions, references, validation
from bulkhead.fhir.definitions import RESOURCE_TYPES

TRANSACTION, BATCH = "transaction", "batch"

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LOCAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_WRITES = {"PUT": Interaction.UPDATE, "PATCH": Interaction.PATCH, "DELETE": Interaction.DELETE}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

Faults = dict[int, BadRequest]
"""The fault of each invalid entry, by the index of the entry."""


def bundle_type(bundle: dict[str, Any], limit: int) -> str:
    """`transaction` or `batch`. BadRequest for any other resource or Bundle, PayloadTooLarge for more than `limit` entries."""
    if "resourceType" not in bundle and "entry" in bundle:
        raise BadRequest(older_versions.ATOM_MESSAGE, expression="resourceType")
    if bundle.get("resourceType") != "Bundle":
        raise BadRequest("POST to the base URL takes a Bundle of type batch or transaction", expression="resourceType")
    _refuse_older_bundle(bundle)
    if bundle.get("type") not in (TRANSACTION, BATCH):
        raise BadRequest(
            "the type of a Bundle that is sent to the base URL must be batch or transaction", expression="Bundle.type"
        )
    if not isinstance(bundle.get("entry", []), list):
        raise BadRequest("entry must be an array", expression="Bundle.entry")
    if len(bundle.get("entry", [])) > limit:
        raise PayloadTooLarge(f"a Bundle may have at most {limit} entries", expression="Bundle.entry")
    return str(bundle["type"])


def entries(bundle: dict[str, Any], base: str, limit: int) -> tuple[list[Entry], Faults]:
    """The valid entries in request order, and the faults of the others. BadRequest where the Bundle itself is invalid.

    `base` is the URL of this server, such as `http://127.0.0.1:8000/fhir/R4`: urls of entries may begin with it.
    """
    bundle_type(bundle, limit)
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
    _check_full_urls(valid, found, base)
    if bundle["type"] == BATCH:
        _check_independence(valid, found, base)
    return [entry for entry in valid if entry.index not in found], found


def check_bundle(bundle: dict[str, Any]) -> None:
    """Everything of the Bundle but its entries. BadRequest."""
    issues = validation.faults({name: value for name, value in bundle.items() if name != "entry"}, "Bundle")
    if issues:
        raise BadRequest("the Bundle is not valid", issues=issues)


def _check_shell(index: int, content: Any) -> None:
    """Checks an entry without its resource."""
    if isinstance(content, dict):
        _refuse_older_forms(index, content)
    if isinstance(content, dict) and "request" not in content:
        raise _fault(index, "request", "an entry of a batch or transaction must have a `request` with method and url")
    shell = {n: v for n, v in content.items() if n != "resource"} if isinstance(content, dict) else content
    issues = validation.faults({"resourceType": "Bundle", "type": BATCH, "entry": [shell]}, "Bundle")
    if issues:
        raise BadRequest(
            "the entry is not valid", issues=[_renamed(i, "Bundle.entry[0]", place(index)) for i in issues]
        )


def _refuse_older_bundle(bundle: dict[str, Any]) -> None:
    """BadRequest for what a bundle had in DSTU1 or DSTU2, saying how R4 has it."""
    for name, instead in _OLDER_BUNDLE.items():
        if name in bundle:
            raise BadRequest(f"R4 bundles have no {name}: {instead}", f"Bundle.{name}")
    links = bundle.get("link")
    for number, link in enumerate(links if isinstance(links, list) else ()):
        if isinstance(link, dict) and link.keys() & {"rel", "href"}:
            raise BadRequest("in R4 a link has `relation` and `url`, not `rel` and `href`", f"Bundle.link[{number}]")


_OLDER_BUNDLE = {
    "title": "they have no title",
    "updated": "the time is in `timestamp`, or in `meta.lastUpdated`",
    "published": "the time is in `timestamp`, or in `meta.lastUpdated`",
    "totalResults": "the number of matches is in `total`",
    "base": "the URL of each resource is in the `fullUrl` of its entry",
    "author": "a Provenance names the author of a resource",
    "category": "tags are in `meta.tag`, and `type` says how to process the Bundle",
    "generator": "the source is in `meta.source`",
}
_OLDER = {
    "deleted": "a deletion is an entry whose `request` has the method DELETE",
    "deletedItem": "a deletion is an entry whose `request` has the method DELETE",
    "content": "the resource is in `resource`",
    "transaction": "the method and url are in `request`",
    "transactionResponse": "the response is in `response`",
    "base": "the URL of a resource is in `fullUrl`",
    "id": "the URL of a resource is in `fullUrl`",
    "updated": "the time is in the resource, in `meta.lastUpdated`",
    "published": "the time is in the resource, in `meta.lastUpdated`",
    "title": "entries have no titles",
    "author": "a Provenance names the author of a resource",
    "category": "tags are in the resource, in `meta.tag`",
    "summary": "the narrative is in the resource, in `text`",
}
"""Members of entries in Atom, DSTU1 and DSTU2, with the R4 form. R4 has `id` too, as the id of an element."""


def _refuse_older_forms(index: int, content: dict[str, Any]) -> None:
    """Refuses members of entries that older versions of FHIR had and that R4 ignores or does not explain; names the R4 form."""
    for name, instead in _OLDER.items():
        identifies = isinstance(content.get("id"), str) and ":" in content["id"]
        if name in content and (name != "id" or identifies):
            raise _fault(index, name, f"`{name}` belongs to an older version of FHIR: in R4 {instead}")
    links = content.get("link")
    for number, link in enumerate(links if isinstance(links, list) else [links]):
        if not isinstance(link, dict):
            continue
        relation = link.get("relation", link.get("rel"))
        if isinstance(relation, str) and relation.lower() == "search":
            raise _fault(
                index,
                f"link[{number}]",
                "a link `search` was the condition of an entry in DSTU1: in R4 a conditional create has its criteria in `request.ifNoneExist`, a conditional update in `request.url`",
            )
        if "rel" in link or "href" in link:
            raise _fault(index, f"link[{number}]", "in R4 a link has `relation` and `url`, not `rel` and `href`")


def _renamed(issue: Issue, start: str, to: str) -> Issue:
    return Issue(issue.code, issue.diagnostics, to + (issue.expression or start).removeprefix(start), issue.severity)


def _entry(index: int, content: dict[str, Any], base: str) -> Entry:
    request = content["request"]
    method, url = request["method"], _relative(request["url"], base)
    if method not in _METHODS:
        raise _fault(index, "request.method", f"the method must be one of {', '.join(_METHODS)}")
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
    """Checks that the url of a write names a type, and an id or criteria as the interaction needs it."""
    if entry.type not in RESOURCE_TYPES:
        raise _fault(
            entry.index,
            "request.url",
            f"the url must begin with a resource type of R4{older_versions.instead_of(entry.type)}",
        )
    if entry.interaction is Interaction.CREATE:
        if len(segments) != 1 or entry.criteria:
            raise _fault(entry.index, "request.url", "the url of a create must be the resource type alone")
    elif len(segments) > 2 or (entry.id is None) == (entry.criteria is None):
        raise _fault(entry.index, "request.url", "the url must be `Type/id` or `Type?criteria`")
    elif entry.id is not None and not _ID.fullmatch(entry.id):
        raise _fault(entry.index, "request.url", "an id must have 1 to 64 letters, digits, `-` and `.`")


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
        raise _fault(entry.index, "resource.id", "the id of the resource must be the one in request.url")


def _check_full_urls(valid: list[Entry], found: Faults, base: str) -> None:
    """Checks that a fullUrl names only the resource of its entry; otherwise a reference to it would be ambiguous (R4 bdl-7)."""
    first: dict[str, int] = {}
    written = {entry.key: entry for entry in valid if entry.key}
    for entry in valid:
        if not entry.full_url:
            continue
        # Below the base, absolute and relative URLs are the same.
        name = entry.full_url.removeprefix(f"{base}/")
        other = first.setdefault(name, entry.index)
        if other != entry.index:
            found[entry.index] = _fault(
                entry.index, "fullUrl", f"{place(other)} has this fullUrl too: each entry needs its own"
            )
        elif entry.key and _LOCAL.fullmatch(name) and name != entry.key:
            found[entry.index] = _fault(
                entry.index, "fullUrl", f"the fullUrl names {name}, but request.url names {entry.key}"
            )
        elif name in written and written[name] is not entry:
            message = f"the fullUrl names {name}, which {place(written[name].index)} writes"
            found[entry.index] = _fault(entry.index, "fullUrl", message)


def _check_independence(valid: list[Entry], found: Faults, base: str) -> None:
    """Refuses an entry of a batch that refers to another entry's resource by its fullUrl (R4 http.html 3.1.0.11.1).

    A resource that an update writes has an id of its own, so a reference to `Patient/1` does not depend on the entry that puts it.
    """
    written = {
        entry.full_url: entry
        for entry in valid
        if entry.full_url and entry.interaction in (Interaction.CREATE, Interaction.UPDATE)
    }
    if not written:
        return
    names = written | {url.removeprefix(f"{base}/"): entry for url, entry in written.items()}

    def refers(entry: Entry, text: str, root: str) -> Entry | None:
        plain = text.partition("#")[0].partition("/_history/")[0]
        target = names.get(plain) or (names.get(root + plain) if root and "?" not in plain else None)
        if target is None or target is entry or plain.removeprefix(f"{base}/") == target.key:
            return None
        return target

    for entry in valid:
        for where, text, root in _texts(entry, names):
            target = refers(entry, text, root)
            if target is not None:
                path = where if isinstance(where, str) else _path(entry, where)
                message = (
                    f"this refers to {place(target.index)} by its fullUrl: entries of a batch are independent;"
                    " a transaction resolves such references"
                )
                found[entry.index] = _fault(entry.index, path, message)
                break


def _texts(entry: Entry, full_urls: Container[str]) -> Iterator[tuple[str | Link, str, str]]:
    """(container or Link, text that may be a fullUrl, root of relative references) for each such text in an entry."""
    if entry.interaction in (Interaction.CREATE, Interaction.UPDATE) and entry.resource:
        root = root_of(entry.full_url)
        for link in find_links(entry.resource):
            for text in link.urls():
                yield link, text, root
            target, _, query = link.text.partition("?")
            if link.kind is Kind.REFERENCE and query:
                for value in named_in(query, target.rstrip("/").rpartition("/")[2], full_urls):
                    yield link, value, ""
    for value in named_in(entry.url.partition("?")[2], entry.type, full_urls):
        yield "request.url", value, ""
    for value in named_in((entry.if_none_exist or "").rpartition("?")[2], entry.type, full_urls):
        yield "request.ifNoneExist", value, ""


def _path(entry: Entry, link: Link) -> str:
    """`resource.subject` for a reference, `resource` for other links."""
    resource = entry.resource or {}
    paths = (path for path, reference in references.walk(resource) if reference is link.container)
    return f"resource{next(paths, entry.type).removeprefix(entry.type)}"


def _fault(index: int, path: str, message: str) -> BadRequest:
    return BadRequest(message, expression=f"{place(index)}.{path}")
