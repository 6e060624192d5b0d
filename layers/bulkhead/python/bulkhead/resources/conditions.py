"""Search criteria in place of an id: ifNoneExist, conditional update and delete, conditional references (R4 http.html 3.1.0.8.1).

Many conditions are answered together: each distinct condition once, in parallel, and their resources are read in batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from bulkhead.access import policy
from bulkhead.audit import recording
from bulkhead.errors import BadRequest, BulkheadError
from bulkhead.facts.index_facts import is_indexed
from bulkhead.fhir import queries
from bulkhead.fhir.definitions import RESOURCE_TYPES
from bulkhead.parallel import in_parallel
from bulkhead.resources.written import Matcher
from bulkhead.search import custom, run
from bulkhead.search.parse import OWN, parse
from bulkhead.search.query import Custom, Query, TokenValue, no_custom
from bulkhead.store.heads import Claim, Fenced, Head, Identifier, Unique
from bulkhead.store.keys import IDENTIFIER
from bulkhead.store.version import Fence, Version

if TYPE_CHECKING:
    from bulkhead.session import Session
    from bulkhead.settings import Settings
    from bulkhead.store import Store

_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)/?\?(.+)", re.DOTALL)
# How many index entries, stale ones included, are read for one identifier before the search takes over.
_PAGE = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """Criteria for one resource type. Equal if the parameters are equal, in any order and encoding."""

    text: str
    """`Patient?identifier=s%7Cv`, normalised: the text in a Claim."""
    query: Query = field(compare=False)

    @property
    def type(self) -> str:
        return self.query.types[0]


Matches = Mapping[Condition, Sequence[Head]]
"""Live heads that meet each condition: none, one, or two if several do."""


def condition_for(session: Session, resource_type: str, criteria: str, *, expression: str, base: str) -> Condition:
    """A condition from a query string, as the caller of `session` means it: see `condition`.

    It understands search parameters that clients have defined, and expands value sets, hierarchies and lists. BadRequest,
    NotSupported, TooCostly at `expression`.
    """
    store, fence = session.store, policy.fence(session.store, session.caller, policy.SEARCH)
    own = custom.stored_in(store, fence)
    try:
        one = condition(resource_type, criteria, expression, base=base, defined=own, limits=session.settings)
        # A condition tells what a List holds, by what it does: that is a read of the List.
        listed = run.with_lists(store, one.query, fence, consulted=recording.reader(session))
        return replace(one, query=run.spelt_out(store, listed, fence))
    except BulkheadError as error:
        error.issues = tuple(replace(issue, expression=expression) for issue in error.issues)
        raise


def condition(
    resource_type: str,
    criteria: str,
    expression: str,
    *,
    base: str,
    defined: Custom = no_custom,
    limits: Settings = OWN,
) -> Condition:
    """A condition from a query string, percent-encoded or not: `identifier=s|v`, `?identifier=s|v`, `Patient?identifier=s|v`.

    A url below `base`, the base URL of this server, is a reference to this server, as in a search. `defined` are
    the parameters that clients have defined, `limits` the settings that bound a search.

    BadRequest at `expression` for criteria that do not select: an unknown parameter, an empty value, another
    type, a parameter that shapes the result.
    """
    named = _CONDITIONAL.fullmatch(criteria)
    if named and named[1] != resource_type:
        raise BadRequest(f"the criteria are for {named[1]}, but the resource is a {resource_type}", expression)
    pairs = sorted(set(queries.pairs(named[2] if named else criteria.removeprefix("?"), expression)))
    if not pairs or any(not value for _, value in pairs):
        raise BadRequest("criteria must be search parameters with values", expression)
    try:
        query = parse(pairs, resource_type, base=base, strict=True, custom=defined, limits=limits)
    except BadRequest as error:
        raise BadRequest(str(error), expression) from None
    if len(query.clauses) + len(query.chains) != len(pairs):
        raise BadRequest(
            "criteria may have only parameters that select resources, not parameters that shape the result", expression
        )
    text = "&".join(f"{quote(name, safe=':')}={quote(value, safe='/:,$')}" for name, value in pairs)
    return Condition(f"{resource_type}?{text}", query)


def conditional_reference(session: Session, text: str, base: str, *, expression: str) -> Condition | None:
    """The condition in a reference such as `Practitioner?identifier=s|v`; None for a reference of another form."""
    if "?" not in text:
        return None
    match = _CONDITIONAL.fullmatch(text.removeprefix(f"{base}/"))
    if not match or match[1] not in RESOURCE_TYPES:
        return None
    return condition_for(session, match[1], match[2], expression=expression, base=base)


def find(store: Store, conditions: Iterable[Condition], fence: Fence, *, limit: int = 2) -> dict[Condition, list[Head]]:
    """The live resources that meet each condition and that the caller may see; at least `limit` of them if there are as many."""
    wanted = list(dict.fromkeys(conditions))

    def listed(one: Condition) -> list[str] | list[Version]:
        keys = _under_identifier(store, one, limit)
        return run.find(store, one.query, limit, fence=fence) if keys is None else keys

    hits = dict(zip(wanted, in_parallel(listed, wanted, store.settings.threads), strict=True))
    heads = store.read_many({hit for found in hits.values() for hit in found if isinstance(hit, str)})

    def checked(one: Condition, hit: str | Version) -> Head | None:
        if isinstance(hit, Version):
            return hit.head
        head = heads.get(hit)
        return head if head and meets(store, head, one, fence=fence) else None

    return {one: [head for hit in found if (head := checked(one, hit))] for one, found in hits.items()}


def meets(store: Store, head: Head, one: Condition, *, fence: Fence) -> bool:
    """Whether a resource exists, is visible to the caller and meets the condition."""
    if head.deleted:
        return False
    candidate = store.version(head)
    return fence(candidate) and bool(Matcher(store, fence).kept(one.query, [candidate]))


def claim(session: Session, one: Condition, owner: str, *, stale: str | None) -> Claim:
    """The claim that makes `owner` the only resource that meets the condition, as far as the caller may see.

    If the condition names identifiers, this holds against all resources; otherwise against those made under the same condition
    by callers who see the same.
    """
    named, fence = identifiers(one), policy.fence(session.store, session.caller, policy.SEARCH)
    unique = (
        Unique(named, lambda head: meets(session.store, head, one, fence=fence), _fenced(session, one))
        if named
        else None
    )
    return Claim(policy.claim(session.caller, one.text), owner, stale, unique)


def _fenced(session: Session, one: Condition) -> Fenced | None:
    """The caller's fence, as far as it shows which resources of the condition's type are certainly invisible."""
    caller = session.caller
    if not caller.fenced:
        return None
    # A resource that belongs to no chart, or that nobody has an account of, may be visible for other reasons.
    is_open_otherwise = policy.is_open_otherwise(session.store, one.type)
    in_charts = one.type in session.definitions["Patient"].parameters and not is_open_otherwise
    charts = policy.charts(session.store, caller) if in_charts else None

    def hides(head: Head) -> bool:
        if caller.accounts is not None and set(caller.accounts).isdisjoint(head.accounts):
            return not (is_open_otherwise and head.open)
        if charts is None or head.deleted:
            return False
        return set(charts).isdisjoint({head.key, *session.store.version(head).named})

    return Fenced(caller.bounds, caller.accounts, charts, hides)


def claimant(session: Session, one: Condition) -> str | None:
    """The owner of the claim that the caller would make for a condition."""
    return session.store.claim_owner(policy.claim(session.caller, one.text))


def identifiers(one: Condition) -> tuple[Identifier, ...]:
    """Identifiers such that any match has one of them: those in a clause `identifier=system|value,value`. () if there is none."""
    if one.query.chains:
        return ()
    for clause in one.query.clauses:
        if clause.name == IDENTIFIER and is_indexed(one.type, clause.parameter):
            values = [value for value in clause.values if isinstance(value, TokenValue) and value.code]
            if len(values) == len(clause.values):
                return tuple(Identifier(one.type, (value.code or "").casefold(), value.system) for value in values)
    return ()


def _under_identifier(store: Store, one: Condition, limit: int) -> list[str] | None:
    """Keys under the identifiers of a condition, strongly consistent; None where only the whole search can answer."""
    named = identifiers(one)
    keys: list[str] = []
    for identifier in named:
        prefix = None if identifier.system is None else f"{identifier.system}#"
        found = store.by_value(one.type, IDENTIFIER, identifier.value, prefix=prefix, limit=_PAGE + limit)
        if len(found) == _PAGE + limit:
            return None
        keys += [hint.key for hint in found]
    return list(dict.fromkeys(keys)) if named else None
