"""Search criteria in place of an id: ifNoneExist, conditional update and delete, conditional references (R4 http.html 3.1.0.8.1).

Many conditions are answered together: each distinct one once, in parallel, and the resources that they lead to read in batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from bulkhead.access import policy
from bulkhead.compartments import membership
from bulkhead.errors import BadRequest
from bulkhead.facts.index_facts import index_values, is_indexed
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import RESOURCE_TYPES, search_parameters
from bulkhead.parallel import in_parallel
from bulkhead.search import matching, run
from bulkhead.search.parse import parse
from bulkhead.search.query import Query, TokenValue
from bulkhead.store.heads import Claim, Head, Identifier, Unique
from bulkhead.store.keys import IDENTIFIER
from bulkhead.store.version import Fence, Version

if TYPE_CHECKING:
    from bulkhead.session import Session
    from bulkhead.store import Store

_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)/?\?(.+)", re.DOTALL)
# Entries of an index that one identifier can have, stale ones included, before it is left to the search.
_PAGE = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """Criteria for one resource type. Equal where the parameters are, in whatever order and encoding they were written."""

    text: str
    """`Patient?identifier=s%7Cv`, normalised: what a Claim holds."""
    query: Query = field(compare=False)

    @property
    def type(self) -> str:
        return self.query.types[0]


Matches = Mapping[Condition, Sequence[Head]]
"""Live heads that meet each condition: none, one, or two that stand for several."""


def condition(resource_type: str, criteria: str, expression: str, base: str) -> Condition:
    """A condition from a query string, percent-encoded or not: `identifier=s|v`, `?identifier=s|v`, `Patient?identifier=s|v`.

    A url below `base`, the base URL of this server, is a reference to this server, as it is in a search.

    BadRequest at `expression` where it selects nothing in particular: an unknown parameter, an empty value, another
    type, a parameter that shapes results instead of selecting.
    """
    named = _CONDITIONAL.fullmatch(criteria)
    if named and named[1] != resource_type:
        raise BadRequest(f"the criteria are for {named[1]}, the resource is a {resource_type}", expression)
    pairs = sorted(set(parse_qsl(named[2] if named else criteria.removeprefix("?"), keep_blank_values=True)))
    if not pairs or any(not value for _, value in pairs):
        raise BadRequest("criteria are search parameters with values", expression)
    try:
        query = parse(pairs, resource_type, base=base, strict=True)
    except BadRequest as error:
        raise BadRequest(str(error), expression) from None
    if len(query.clauses) + len(query.chains) != len(pairs):
        raise BadRequest("criteria take only parameters that select, none that shape the result", expression)
    text = "&".join(f"{quote(name, safe=':')}={quote(value, safe='/:,$')}" for name, value in pairs)
    return Condition(f"{resource_type}?{text}", query)


def conditional_reference(text: str, base: str, expression: str) -> Condition | None:
    """The condition of a reference such as `Practitioner?identifier=s|v`; None where the reference is of another form."""
    if "?" not in text:
        return None
    match = _CONDITIONAL.fullmatch(text.removeprefix(f"{base}/"))
    return condition(match[1], match[2], expression, base) if match and match[1] in RESOURCE_TYPES else None


def find(store: Store, conditions: Iterable[Condition], fence: Fence, limit: int = 2) -> dict[Condition, list[Head]]:
    """The live resources that meet each condition and that the caller may see, at least `limit` where there are as many."""
    wanted = list(dict.fromkeys(conditions))

    def listed(one: Condition) -> list[str] | list[Version]:
        keys = _under_identifier(store, one, limit)
        return run.find(store, one.query, limit, fence) if keys is None else keys

    hits = dict(zip(wanted, in_parallel(listed, wanted, store.settings.threads), strict=True))
    heads = store.read_many({hit for found in hits.values() for hit in found if isinstance(hit, str)})

    def checked(one: Condition, hit: str | Version) -> Head | None:
        if isinstance(hit, Version):
            return hit.head
        head = heads.get(hit)
        return head if head and meets(store, head, one, fence) else None

    return {one: [head for hit in found if (head := checked(one, hit))] for one, found in hits.items()}


def meets(store: Store, head: Head, one: Condition, fence: Fence) -> bool:
    """Whether a resource is there, is visible to the caller and meets the condition."""
    if head.deleted:
        return False
    if one.query.chains:
        return head.key in [candidate.key for candidate in run.find(store, one.query, _PAGE, fence)]
    candidate = store.version(head)
    return fence(candidate) and _matches(candidate, one, membership.in_force(store))


def claim(session: Session, one: Condition, owner: str, stale: str | None) -> Claim:
    """What makes the resource `owner` the only one that meets the condition, as far as the caller may see them.

    Where the condition names identifiers this is so against all resources; otherwise against those that were made under it
    by callers who see the same.
    """
    named, fence = identifiers(one), policy.fence(session.store, session.caller, policy.SEARCH)
    unique = (
        Unique(named, lambda head: meets(session.store, head, one, fence), session.caller.accounts) if named else None
    )
    return Claim(policy.claim(session.caller, one.text), owner, stale, unique)


def claimant(session: Session, one: Condition) -> str | None:
    """Who owns the claim of a condition, which the caller would make."""
    return session.store.claim_owner(policy.claim(session.caller, one.text))


def identifiers(one: Condition) -> tuple[Identifier, ...]:
    """The identifiers of which any match has one: those of a clause `identifier=system|value,value`. () where there is none."""
    if one.query.chains:
        return ()
    for clause in one.query.clauses:
        if clause.name == IDENTIFIER and is_indexed(one.type, clause.parameter):
            values = [value for value in clause.values if isinstance(value, TokenValue) and value.code]
            if len(values) == len(clause.values):
                return tuple(Identifier(one.type, (value.code or "").casefold(), value.system) for value in values)
    return ()


def _matches(candidate: Version, one: Condition, known: membership.Definitions) -> bool:
    return all(matching.matches(candidate, clause, known) for clause in one.query.clauses)


def exact_identifier(one: Condition) -> tuple[str, str] | None:
    """(system, value as indexed) of a condition that is one `identifier=system|value`: nearly all are."""
    clauses = one.query.clauses
    if one.query.chains or len(clauses) != 1 or len(clauses[0].values) != 1:
        return None
    value = clauses[0].values[0]
    if clauses[0].name != IDENTIFIER or not isinstance(value, TokenValue) or not value.system or not value.code:
        return None
    return value.system, value.code.casefold()


def _under_identifier(store: Store, one: Condition, limit: int) -> list[str] | None:
    """Keys under the identifiers of a condition, as they are at this moment; None where the whole search has to be run."""
    named = identifiers(one)
    keys: list[str] = []
    for identifier in named:
        prefix = None if identifier.system is None else f"{identifier.system}#"
        found = store.by_value(one.type, IDENTIFIER, identifier.value, prefix=prefix, limit=_PAGE + limit)
        if len(found) == _PAGE + limit:
            return None
        keys += [hint.key for hint in found]
    return list(dict.fromkeys(keys)) if named else None


def _body(resource: dict[str, Any], head: Head) -> dict[str, Any]:
    return resource


class Written:
    """The resources that a transaction is about to write, for conditions that are to see them."""

    def __init__(self, resources: Mapping[str, dict[str, Any]], known: membership.Definitions) -> None:
        """`resources` by key, as they will be; `known` are the compartment definitions in force."""
        self._known = known
        self._by_type: dict[str, dict[str, Version]] = {}
        updated = dates.now()
        for key, resource in resources.items():
            head = Head(key, version=1, updated=updated, method="POST", body=None)
            self._by_type.setdefault(head.type, {})[key] = Version(head, partial(_body, resource))
        self._identifiers: dict[str, dict[tuple[str, str], list[str]]] = {}

    def meeting(self, one: Condition) -> list[str]:
        """Keys of those that meet the condition. Chains lead through the index, so they do not see what is not there yet."""
        candidates = self._by_type.get(one.type)
        if not candidates or one.query.chains:
            return []
        identifier = exact_identifier(one)
        keys = self._under(one.type, candidates).get(identifier, ()) if identifier else candidates
        return [key for key in keys if _matches(candidates[key], one, self._known)]

    def _under(self, resource_type: str, candidates: Mapping[str, Version]) -> Mapping[tuple[str, str], Sequence[str]]:
        """Keys by (system, value) of each identifier: made once per type, so that thousands of conditions cost no scan each."""
        if resource_type not in self._identifiers:
            parameter = search_parameters(resource_type)[IDENTIFIER]
            under: dict[tuple[str, str], list[str]] = {}
            for key, candidate in candidates.items():
                for value in index_values(candidate.body, parameter):
                    under.setdefault((value.sort, value.value), []).append(key)
            self._identifiers[resource_type] = under
        return self._identifiers[resource_type]
