"""`POST service/document/new` and `service/document/update`: a document with its bytes, as one transaction (docs/workflows.md).

OperationDefinitions call them `$document-new` and `$document-update`.
"""

from __future__ import annotations

from typing import Any

from bulkhead.access import policy
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.bundles import Interaction
from bulkhead.errors import Conflict, PreconditionFailed, Unprocessable
from bulkhead.operations import care_bundles
from bulkhead.operations.care_bundles import Bundle, Departures, Member
from bulkhead.resources import version_of

DOCUMENT, BINARY, PROVENANCE = "DocumentReference", "Binary", "Provenance"
_TYPES = (DOCUMENT, BINARY, PROVENANCE)
_REPLACES = "replaces"
_CURRENT, _SUPERSEDED = "current", "superseded"


def new_document(request: Request) -> Response:
    """`POST service/document/new`: 200 with the response Bundle of the transaction.

    The Bundle has one Binary, one current DocumentReference that points at it, and perhaps a Provenance of that. BadRequest for faults
    of its form, Unprocessable with every departure from the pattern; else what a transaction raises.
    """
    bundle = care_bundles.transaction(request.resource())
    departures = Departures()
    listed = care_bundles.members(request, bundle, departures, types=_TYPES, what="a new document")
    binary = care_bundles.the_only(listed, BINARY, departures, optional=False)
    document = care_bundles.the_only(listed, DOCUMENT, departures, optional=False)
    if document:
        _require_current(document, binary, departures)
        replaced = [relation for relation in document.resource.get("relatesTo", ()) if relation["code"] == _REPLACES]
        departures.require(
            condition=not replaced,
            text="send a document that replaces another to service/document/update",
            place=f"{document.place}.relatesTo",
        )
        care_bundles.require_provenance(listed, [document], departures)
    departures.raise_any()
    for member in listed:
        if member.entry.interaction is Interaction.UPDATE:
            # It must be new under the client's own id too: only service/document/update replaces a document.
            bundle["entry"][member.entry.index]["request"].setdefault("ifNoneMatch", "*")
    return care_bundles.answered(request, bundle)


def update_document(request: Request) -> Response:
    """`POST service/document/update`: 200 with the response Bundle of the transaction.

    The Bundle has one Binary, the old DocumentReference with the status superseded, the new one that `replaces` it and points at the
    Binary, and perhaps a Provenance of both. BadRequest for faults of its form, Unprocessable with every departure from the pattern,
    and for an old document that is not there; Conflict where the old one is not current any more, PreconditionFailed under `ifMatch`.
    """
    bundle = care_bundles.transaction(request.resource())
    old = _updated(request, bundle)

    def checked(bundle: Bundle) -> dict[int, int]:
        return {old.entry.index: _current_version(request, old)}

    return care_bundles.process(request, bundle, checked)


def _updated(request: Request, bundle: Bundle) -> Member:
    """The entry of the old document in a Bundle with the pattern of an update. Unprocessable."""
    departures = Departures()
    listed = care_bundles.members(request, bundle, departures, types=_TYPES, what="an updated document")
    binary = care_bundles.the_only(listed, BINARY, departures, optional=False)
    documents = [member for member in listed if member.type == DOCUMENT]
    if len(documents) != 2:
        text = "the bundle must have exactly two DocumentReferences: the old one, superseded, and the new one, which replaces it"
        departures.add(text, documents[2].place if len(documents) > 2 else "Bundle.entry")
        departures.raise_any()
    old, new = sorted(documents, key=lambda member: member.resource["status"] != _SUPERSEDED)
    _require_superseded(old, departures)
    _require_current(new, binary, departures)
    relations = [relation for relation in new.resource.get("relatesTo", ()) if relation["code"] == _REPLACES]
    departures.require(
        condition=any(new.refers_to(relation["target"].get("reference"), old) for relation in relations),
        text=f"the new document must have a relatesTo with the code replaces and {old.entry.place} as its target",
        place=f"{new.place}.relatesTo",
    )
    care_bundles.require_provenance(listed, [old, new], departures)
    departures.raise_any()
    return old


def _require_superseded(old: Member, departures: Departures) -> None:
    departures.require(
        condition=old.resource["status"] == _SUPERSEDED,
        text="the old document must have the status superseded",
        place=f"{old.place}.status",
    )
    departures.require(
        condition=old.entry.key is not None,
        text="the entry of the old document must update it by its id: PUT DocumentReference/id",
        place=f"{old.entry.place}.request",
    )


def _require_current(document: Member, binary: Member | None, departures: Departures) -> None:
    """Checks that a document is current, and that one of its attachments is the Binary of the bundle."""
    departures.require(
        condition=document.resource["status"] == _CURRENT,
        text="the new document must have the status current",
        place=f"{document.place}.status",
    )
    urls = [content["attachment"].get("url") for content in document.resource["content"]]
    if binary is not None:
        departures.require(
            condition=any(document.refers_to(url, binary) for url in urls),
            text=f"one attachment.url of the new document must be the fullUrl of {binary.entry.place}, the Binary",
            place=f"{document.place}.content",
        )


def _current_version(request: Request, old: Member) -> int:
    """The version of the stored old document. Unprocessable if the caller sees none, Conflict if it is not current.

    PreconditionFailed if the client asks for another version: it has seen an older document.
    """
    key = old.entry.key
    assert key is not None
    policy.require(request.caller, policy.UPDATE, DOCUMENT)
    head = care_bundles.changeable(request, key)
    if head is None:
        raise Unprocessable(f"{key} is not known", f"{old.entry.place}.request.url")
    expected = version_of(old.entry.if_match)
    if expected not in (None, head.version):
        raise PreconditionFailed(
            "the current version of the resource is a different one: read it again",
            f"{old.entry.place}.request.ifMatch",
        )
    stored: dict[str, Any] = request.store.decode(head)
    if stored["status"] != _CURRENT:
        raise Conflict(
            f"{key} is {stored['status']} already: replace the current document instead", f"{old.place}.status"
        )
    return head.version
