"""Bundles of a known pattern, such as a new document: the common parts of the operations below `service/`.

Each operation checks the pattern of its Bundle, and passes to `bundles.process` a transaction that a client could have sent itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bulkhead import bundles
from bulkhead.access import policy
from bulkhead.access.visibility import require_visible
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.bundles import Entry, Interaction, parse
from bulkhead.bundles.context import REPRESENTATION
from bulkhead.bundles.full_urls import root_of
from bulkhead.errors import BadRequest, Conflict, Issue, NotFound, PreconditionFailed, Unprocessable, raise_together
from bulkhead.fhir import references
from bulkhead.interactions.contexts import context
from bulkhead.store import Head, one_request

COLLECTION = "collection"
_ATTEMPTS = 6
_MADE_HERE = ("urn:", "cid:")
"""The prefix of a fullUrl that is a placeholder."""

Bundle = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """One entry that writes a resource, and the names by which other entries may refer to it."""

    entry: Entry
    base: str

    @property
    def type(self) -> str:
        return self.entry.type

    @property
    def resource(self) -> dict[str, Any]:
        assert self.entry.resource is not None
        return self.entry.resource

    @property
    def place(self) -> str:
        """`Bundle.entry[2].resource`."""
        return f"{self.entry.place}.resource"

    @property
    def names(self) -> frozenset[str]:
        """`Type/id`, the fullUrl, or both: the names that `bundles.full_urls` knows."""
        full_url = self.entry.full_url
        own = f"{self.type}/{self.resource['id']}" if "id" in self.resource and not full_url else None
        known = (self.entry.key, own, full_url, full_url.removeprefix(f"{self.base}/") if full_url else None)
        return frozenset(name for name in known if name)

    def refers_to(self, text: str | None, other: Member) -> bool:
        """Whether `text`, from this resource, names the other: with a version or a fragment, or relative to this fullUrl."""
        if text is None:
            return False
        plain = text.partition("#")[0].partition("/_history/")[0]
        root = root_of(self.entry.full_url)
        return not other.names.isdisjoint(
            {plain, plain.removeprefix(f"{self.base}/"), *([root + plain] if root else [])}
        )


@dataclass
class Departures:
    """The departures of a Bundle from its pattern, each with its place."""

    issues: list[Issue] = field(default_factory=list)

    def add(self, text: str, place: str) -> None:
        self.issues.append(Issue(Unprocessable.code, text, place))

    def require(self, *, condition: bool, text: str, place: str) -> None:
        """Notes a departure if the condition does not hold."""
        if not condition:
            self.add(text, place)

    def raise_any(self) -> None:
        """Raises Unprocessable with all departures, if there are any."""
        if self.issues:
            raise Unprocessable(self.issues[0].diagnostics, issues=self.issues)


def transaction(body: dict[str, Any]) -> Bundle:
    """The Bundle in a body as a transaction; entries of a collection get the requests that they imply.

    BadRequest for a body that is no Bundle, Unprocessable for a Bundle of another type.
    """
    if body.get("resourceType") != "Bundle":
        raise BadRequest("the body must be a Bundle of type transaction or collection", "resourceType")
    if body.get("type") == parse.TRANSACTION:
        return body
    if body.get("type") != COLLECTION:
        text = "the Bundle must have the type transaction, or the type collection without requests"
        raise Unprocessable(text, "Bundle.type")
    entries = body.get("entry", [])
    if not isinstance(entries, list):
        raise BadRequest("entry must be an array", "Bundle.entry")
    return {**body, "type": parse.TRANSACTION, "entry": [_with_request(entry) for entry in entries]}


def _with_request(entry: Any) -> Any:
    """An entry of a collection with its request: an update if the resource has an id, unless its fullUrl is a placeholder."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(resource, dict) or "request" in entry:
        return entry
    full_url, kind, identifier = entry.get("fullUrl"), resource.get("resourceType"), resource.get("id")
    placeholder = isinstance(full_url, str) and full_url.startswith(_MADE_HERE)
    if identifier is None or placeholder:
        return {**entry, "request": {"method": "POST", "url": f"{kind}"}}
    return {**entry, "request": {"method": "PUT", "url": f"{kind}/{identifier}"}}


def members(
    request: Request, bundle: Bundle, departures: Departures, *, types: Collection[str], what: str
) -> list[Member]:
    """The entries of a transaction that write resources of `types`; any other entry is a departure. `what` names the pattern.

    BadRequest with every fault of the form.
    """
    entries, faults = parse.entries(bundle, request.base, request.session.settings.entry_limit)
    raise_together(faults[index] for index in sorted(faults))
    found = []
    for entry in entries:
        if entry.interaction not in (Interaction.CREATE, Interaction.UPDATE):
            departures.add(f"{what} may have only entries that create or update", f"{entry.place}.request.method")
        elif entry.type not in types:
            departures.add(f"{what} may have only {', '.join(types)}, not {entry.type}", f"{entry.place}.resource")
        else:
            found.append(Member(entry, request.base))
    return found


def the_only(listed: Sequence[Member], resource_type: str, departures: Departures, *, optional: bool) -> Member | None:
    """The one member of a type. None if there is none, or several: a departure, unless none is `optional`."""
    found = [member for member in listed if member.type == resource_type]
    if len(found) == 1:
        return found[0]
    if found or not optional:
        number = "at most" if optional else "exactly"
        departures.add(
            f"the bundle must have {number} one {resource_type}", found[1].place if found else "Bundle.entry"
        )
    return None


def require_provenance(listed: Sequence[Member], about: Sequence[Member], departures: Departures) -> None:
    """Checks the Provenance, which is optional: it must have all of `about` as targets."""
    provenance = the_only(listed, "Provenance", departures, optional=True)
    if provenance is None:
        return
    targets = [target.get("reference") for target in provenance.resource.get("target", ())]
    for member in about:
        known = any(provenance.refers_to(target, member) for target in targets)
        departures.require(
            condition=known,
            text=f"the Provenance must have {member.entry.place} as a target",
            place=f"{provenance.place}.target",
        )


def linked(member: Member, kind: str, other: Member) -> bool:
    """Whether a Patient has a link of a kind to the other."""
    return any(
        member.refers_to(link.get("other", {}).get("reference"), other)
        for link in member.resource.get("link", ())
        if link.get("type") == kind
    )


def guarded(bundle: Bundle, versions: dict[int, int]) -> Bundle:
    """A copy of the transaction with preconditions on these versions, by index of the entry; the client's own preconditions stay.

    A copy, since resolving references changes the resources.
    """
    made = copy.deepcopy(bundle)
    for index, version in versions.items():
        made["entry"][index]["request"].setdefault("ifMatch", f'W/"{version}"')
    return made


def retried(attempt: Callable[[], Response]) -> Response:
    """The response of `attempt`, which runs again if another writer changed what it had read. Conflict if that continues."""
    for _ in range(_ATTEMPTS):
        try:
            # Reads anew what was decided since the last attempt.
            with one_request():
                return attempt()
        except MovedOn:
            continue
    raise Conflict("other requests keep changing these resources: send the request again")


class MovedOn(Exception):
    """The resources that an attempt had read have changed."""


def process(request: Request, bundle: Bundle, checked: Callable[[Bundle], dict[int, int]]) -> Response:
    """Runs a transaction whose entries have the versions that `checked` reads. Nothing is written if that raises.

    A precondition of the client's own that fails is PreconditionFailed.
    """

    def attempt() -> Response:
        versions = checked(bundle)
        added = [index for index in versions if "ifMatch" not in bundle["entry"][index]["request"]]
        try:
            return answered(request, guarded(bundle, versions))
        except PreconditionFailed as error:
            places = {f"Bundle.entry[{index}].request.ifMatch" for index in added}
            if places and all(issue.expression in places for issue in error.issues):
                raise MovedOn from None
            raise

    return retried(attempt)


def answered(request: Request, bundle: Bundle) -> Response:
    """The transaction's response Bundle, with the written resources except the bytes of a Binary; less if `Prefer: return=` asks."""
    made = context(request)
    if request.prefer.returns:
        return Response(200, bundles.process(bundle, made))
    done = bundles.process(bundle, replace(made, returns=REPRESENTATION))
    for entry in done.get("entry", ()):
        if entry.get("resource", {}).get("resourceType") == "Binary":
            del entry["resource"]
    return Response(200, done)


def changeable(request: Request, key: str) -> Head | None:
    """The head of a live resource that the caller may change; None if it sees none. Forbidden if it may only see it."""
    head = request.store.read(key)
    if head is None or head.deleted:
        policy.pay_for_a_look(request.store, request.caller, key)
        return None
    try:
        return require_visible(request.store, request.caller, head, right=policy.UPDATE)
    except NotFound:
        return None


def local_links(member: Member, kind: str) -> Iterator[str]:
    """The keys of Patients of this server to which a Patient has a link of a kind."""
    for link in member.resource.get("link", ()):
        if link.get("type") == kind:
            text = link.get("other", {}).get("reference", "")
            key = references.local(references.relative(text, f"{member.base}/"))
            if key:
                yield key
