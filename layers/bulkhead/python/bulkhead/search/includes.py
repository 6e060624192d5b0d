"""`_include` and `_revinclude`: what the matches of a page point at, and what points at them. One level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bulkhead.errors import TooCostly
from bulkhead.search.candidate import Candidate, Fence
from bulkhead.search.query import Include, Results

if TYPE_CHECKING:
    from bulkhead.store import Store

MOST = 5_000
"""The most resources that a page may bring along."""
_LISTED = 1000


def included(store: Store, results: Results, matches: Sequence[Candidate], fence: Fence) -> list[Candidate]:
    """The resources to show besides the matches, each once, by type and id; what `fence` refuses is left out.

    TooCostly where they are more than 5,000: a smaller `_count` helps.
    """
    if not results.include and not results.revinclude:
        return []
    forward = {key for include in results.include for match in matches for key in pointed_at(match, include)}
    sources = {
        include: {key for match in matches for key in pointing_at(store, match.key, include)}
        for include in results.revinclude
    }
    wanted = forward.union(*sources.values()) - {match.key for match in matches}
    if len(wanted) > MOST:
        raise TooCostly("the includes bring too many resources: ask for fewer matches a page", expression="_count")
    matched = frozenset(match.key for match in matches)
    heads = store.read_many(sorted(wanted))
    shown: list[Candidate] = []
    for key in sorted(heads):
        if heads[key].deleted:
            continue
        candidate = Candidate(heads[key], store.decode)
        if fence(candidate) and (key in forward or still_points(candidate, matched, sources)):
            shown.append(candidate)
    return shown


def pointed_at(match: Candidate, include: Include) -> Iterable[str]:
    """The targets of a match that one `_include` names."""
    if match.head.type != include.type:
        return
    for target, via in match.targets.items():
        through = include.code in via or include.code == "*"
        if through and (include.target is None or target.startswith(f"{include.target}/")):
            yield target


def pointing_at(store: Store, key: str, include: Include) -> Iterable[str]:
    """What points at a match through one `_revinclude`: hints."""
    if include.target is not None and not key.startswith(f"{include.target}/"):
        return
    after: str | None = None
    count = 0
    while True:
        found = store.pointing_at(key, include.type, after, _LISTED)
        for pointer in found:
            if include.code == "*" or include.code in pointer.via:
                count += 1
                yield pointer.source
        if len(found) < _LISTED or count > MOST:
            return
        after = found[-1].source


def still_points(candidate: Candidate, matched: frozenset[str], sources: dict[Include, set[str]]) -> bool:
    """Whether the hint holds: the resource points now at a match, through the parameter of a `_revinclude`."""
    return any(
        candidate.head.type == include.type and target in matched and (include.code == "*" or include.code in via)
        for include in sources
        for target, via in candidate.targets.items()
    )
