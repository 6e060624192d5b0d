"""`Patient/{id}/$everything` and `Encounter/{id}/$everything` (R4 patient-operation-everything.html), page by page.

First comes the target itself, then the members of its compartment (and of the compartments of Patients that it replaces), then the
resources outside that these refer to. Each resource comes once. Each page collects the references anew, from up to WINDOW
members at a time: only in a larger compartment may a resource that several windows refer to come once for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.bundles import links
from bulkhead.compartments import membership, patient_links
from bulkhead.errors import BadRequest, NotFound
from bulkhead.facts import care_dates, extract
from bulkhead.fhir import definitions, references
from bulkhead.search import bundle, cursor, literals, matching, parse
from bulkhead.search.drivers import Compartment, Merged
from bulkhead.search.page import Page, Represent
from bulkhead.search.query import Clause, Query
from bulkhead.search.race import Races
from bulkhead.store.heads import PAGE_WEIGHT
from bulkhead.store.version import Fence, Version, prepare

if TYPE_CHECKING:
    from bulkhead.session import Session
    from bulkhead.settings import Settings
    from bulkhead.store import Head, Store

TYPES = ("Patient", "Encounter")
"""The types that have the operation in R4."""
COUNT = 500
"""Matches per page without `_count`: few compartments have more."""
WINDOW = 10_000
"""The limit on members whose references are collected at once."""
READ = 5_000
"""How many members a page reads; then it ends with a next link, even if it is not full."""
_LISTED = 1000
# It begins with what is rare in a text, so that the search for it is a quick one.
_MENTION = re.compile(rb"""["']([A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64})(?=["'/\\])""")

_VALUES = {
    "start": "valueDate",
    "end": "valueDate",
    "_since": "valueInstant",
    "_type": "valueCode",
    "_count": "valueInteger",
}
_RESULT = ("_cursor", "_format", "_pretty", "_summary", "_elements")
Position = list[str]
"""The last resource of a page: ["", "", key] for a member, ["refers", window, key] for a target of the members after `window`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: the compartment, the part of it, and the paging."""

    query: Query
    care: Clause | None
    """The care dates asked for, as a condition without a parameter: each type has its own."""


def from_parameters(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The Parameters of a POST in the form of a query. BadRequest, naming the parameter that the operation does not have."""
    if body.get("resourceType") != "Parameters":
        raise BadRequest("the body must be a Parameters resource", "resourceType")
    listed = body.get("parameter", [])
    if not isinstance(listed, list):
        raise BadRequest("parameter must be a list", "Parameters.parameter")
    found: list[tuple[str, str]] = []
    for n, item in enumerate(listed):
        place = f"Parameters.parameter[{n}]"
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in _VALUES:
            raise BadRequest(f"$everything takes {', '.join(_VALUES)}", f"{place}.name")
        value = item.get(_VALUES[name])
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise BadRequest(f"{name} must have its value in {_VALUES[name]}", place)
        found.append((name, str(value)))
    return found


def asked(pairs: Sequence[tuple[str, str]], key: str, base: str, *, strict: bool, limits: Settings) -> Asked:
    """The call in a query; `limits` are the settings that bound it. BadRequest; NotFound for a type without the operation."""
    resource_type = key.partition("/")[0]
    if resource_type not in TYPES:
        raise NotFound(f"{resource_type} has no $everything; {' and '.join(TYPES)} have it", "$everything")
    ignored = tuple(dict.fromkeys(name for name, _ in pairs if name not in (*_VALUES, *_RESULT)))
    if strict and ignored:
        raise BadRequest(f"$everything has no parameter {ignored[0]}", ignored[0])
    own = [pair for pair in pairs if pair[0] in (*_VALUES, *_RESULT) and pair[1]]
    kept = [pair for pair in own if pair[0] not in ("start", "end")]
    if not any(name == "_count" for name, _ in kept):
        kept.append(("_count", str(COUNT)))
    query = parse.parse(
        kept, None, compartment=key, compartment_types=definitions.RESOURCE_TYPES, base=base, limits=limits
    )
    if query.results.count_only:
        name = "_summary" if query.results.summary == "count" else "_count"
        raise BadRequest("$everything cannot count: search the compartment with this parameter instead", name)
    period = tuple(pair for pair in own if pair[0] in ("start", "end"))
    query = msgspec.structs.replace(
        query, path=f"{key}/$everything", used=(*query.used, *period), ignored=ignored, known=tuple(_VALUES)
    )
    return Asked(query, _care(dict(period)))


def _care(period: dict[str, str]) -> Clause | None:
    """`start` and `end` as conditions that must all hold."""
    prefixes = {"start": "ge", "end": "le"}
    values = tuple(literals.date(f"{prefixes[name]}{text}", name) for name, text in period.items())
    nothing = definitions.SearchParameter(code="", url="", type="date")
    return Clause("start", nothing, None, values) if values else None


def everything(session: Session, key: str, given: Asked, *, base: str, represent: Represent) -> dict[str, Any]:
    """One page as a searchset Bundle. NotFound, Gone or Forbidden where the caller cannot read the target itself."""
    target = session.store.version(resources.read(session, key))
    fence = policy.fence(session.store, session.caller, policy.SEARCH)
    others = patient_links.followed(session.store, [target], fence).get(key, ()) if key.startswith("Patient/") else ()
    known, races = membership.in_force(session.store), Races(session.store, fence)
    walk = _Walk(session.store, given, target, (key, *others), fence, known, races)
    return bundle.searchset(given.query, walk.page(), base, represent=represent)


@dataclass(frozen=True)
class _Walk:
    """One page of one call."""

    store: Store
    asked: Asked
    target: Version
    targets: tuple[str, ...]
    """The target, and the Patients that it replaces."""
    fence: Fence
    known: membership.Definitions
    races: Races
    """Keeps what others have in the compartment from being read, however much it is."""

    @property
    def count(self) -> int:
        return max(self.asked.query.results.count, 1)

    def page(self) -> Page:
        text = self.asked.query.results.cursor
        at = cursor.decode(text, self.asked.query, Position).position if text else None
        if at is not None and len(at) != 3:
            raise cursor.refused()
        if at is not None and at[0] == "refers":
            return self.referred_to([], at[1], at[2])
        return self.members(at[2] if at else None)

    def members(self, after: str | None) -> Page:
        """The page after a member; after the last member, the resources that they refer to fill it."""
        count = self.count
        matches = [self.target] if after is None and self.wanted(self.target) else []
        passed: list[Version] = []
        last, weight = after or "", 0
        for read, candidate in enumerate(self.all_members(after or None)):
            if len(matches) >= count or read >= READ or weight > PAGE_WEIGHT:
                return Page(matches, ["", "", last])
            last = candidate.key
            passed.append(candidate)
            if self.wanted(candidate):
                matches.append(candidate)
                weight += candidate.head.weight
        return self.referred_to(matches, "", "", members=passed if after is None else None)

    def referred_to(
        self, matches: list[Version], window: str, after: str, *, members: Sequence[Version] | None = None
    ) -> Page:
        """`matches`, filled up with resources outside the compartment that the members after `window` refer to.

        `members` are all of these, where they have been read.
        """
        room = max(self.count - len(matches), 0)
        keys, following = self.references(window, members)
        left = sorted(key for key in keys if key > after)
        chunk = left[:room]
        heads = self.store.read_many(chunk)
        found = [self.store.version(heads[key]) for key in chunk if key in heads and not heads[key].deleted]
        prepare(self.fence, found)
        included = [one for one in found if self.fence(one) and self.wanted(one) and not self.is_member(one)]
        position: Position | None = None
        if len(left) > room:
            position = ["refers", window, chunk[-1] if chunk else after]
        elif following is not None:
            position = ["refers", following, ""]
        only_page = position is None and self.asked.query.results.cursor is None
        return Page(matches, position, len(matches) if only_page else None, included)

    def references(self, window: str, read: Sequence[Version] | None) -> tuple[set[str], str | None]:
        """The resources that the members after `window` refer to, without these members; and the place where the next window begins.

        `_type` and `_since` limit only what is shown: hidden members count for references too. `read` are the members, if they were read.
        """
        members = {self.target.key}
        found = referred(self.target) if window == "" else set()
        last = window
        for candidate in self.all_members(window or None) if read is None else read:
            if len(members) > WINDOW:
                return found - members, last
            last = candidate.key
            members.add(last)
            if in_care(candidate, self.asked.care, self.known):
                found |= referred(candidate)
        return found - members, None

    def all_members(self, after: str | None) -> Iterator[Version]:
        """Members that the caller may see, by key, without the target."""
        its = self.known[self.target.head.type]
        merged = Merged(tuple(Compartment(key, its, ()) for key in self.targets))
        while True:
            listed = merged.list(self.store, after, _LISTED)
            for start in range(0, len(listed.hints), 100):
                race = self.races.won(())
                keys = [hint.key for hint in listed.hints[start : start + 100] if not race or race.may_hold(hint.key)]
                heads = self.store.read_many(keys) if keys else {}
                prepare(self.fence, (self.store.version(head) for head in heads.values()))
                for key in keys:
                    candidate = self.admitted(heads.get(key))
                    if candidate is not None:
                        yield candidate
            if listed.next is None:
                return
            after = listed.next

    def admitted(self, head: Head | None) -> Version | None:
        if head is None or head.deleted or head.key == self.target.key:
            return None
        candidate = self.store.version(head)
        if not self.fence(candidate):
            self.races.count_hidden(())
            return None
        return candidate if self.is_member(candidate) else None

    def is_member(self, candidate: Version) -> bool:
        its = self.known[self.target.head.type]
        return any(membership.is_member(its, key, candidate) for key in self.targets)

    def wanted(self, candidate: Version) -> bool:
        """Whether `_type`, `_since`, `start` and `end` select it."""
        types = self.asked.query.types
        if types and candidate.head.type not in types:
            return False
        return all(matching.matches(candidate, clause, self.known) for clause in self.asked.query.clauses) and in_care(
            candidate, self.asked.care, self.known
        )


def referred(candidate: Version) -> set[str]:
    """The resources of this server that a resource refers to, by any of its references or by the url of an attachment.

    Its text shows all that a link can be: a quote, type and id, then a version or the quote. Where all of these are its targets, which
    are links, no other link is there to be found by parsing.
    """
    content = candidate.content
    if content is not None and content.targets is not None and candidate.head.type != "Bundle":
        texts_of = (_MENTION.findall(text) for text in (content.text, content.meta or b""))
        mentioned = {mention.decode() for found in texts_of for mention in found}
        mentioned = {key for key in mentioned if key.partition("/")[0] in definitions.RESOURCE_TYPES}
        if mentioned <= content.targets.keys():
            return mentioned
    texts = (text for link in links.find_links(candidate.body) for text in link.urls())
    keys = (references.local(text) for text in texts)
    return {key for key in keys if key and key.partition("/")[0] in definitions.RESOURCE_TYPES}


def in_care(candidate: Version, care: Clause | None, known: membership.Definitions) -> bool:
    """Whether the care in a resource falls into the requested period; a resource without a time always does."""
    parameter = care_dates.care_parameter(candidate.head.type) if care else None
    if care is None or parameter is None:
        return True
    if not any(True for item in extract.values(candidate.body, parameter) for _ in extract.periods(*item)):
        return True
    return all(
        matching.matches(candidate, msgspec.structs.replace(care, parameter=parameter, values=(value,)), known)
        for value in care.values
    )
