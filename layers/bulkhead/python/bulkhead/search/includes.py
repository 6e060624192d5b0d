"""`_include` and `_revinclude`: what the matches of a page point at, and what points at them; `:iterate` goes on from these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bulkhead.errors import TooCostly
from bulkhead.search.candidate import Candidate, Fence
from bulkhead.search.canonicals import Canonicals, own
from bulkhead.search.query import ANYTHING, Include, Results

if TYPE_CHECKING:
    from bulkhead.store import Store

MOST = 5_000
"""The most resources that a page may bring along."""
_LISTED = 1000


def included(
    store: Store, results: Results, matches: Sequence[Candidate], fence: Fence, canonicals: Canonicals
) -> list[Candidate]:
    """The resources to show besides the matches, each once, by type and id; what `fence` refuses is left out.

    `:iterate` is applied to what was included, too, until nothing new comes. TooCostly where they are more than 5,000: a
    smaller `_count` helps.
    """
    known = {match.key for match in matches}
    shown: dict[str, Candidate] = {}
    fresh: Sequence[Candidate] = matches
    include, revinclude = results.include, results.revinclude
    while fresh and (include or revinclude):
        found = brought(store, include, revinclude, fresh, known, fence, canonicals)
        fresh = [one for one in found if one.key not in known]
        known |= {one.key for one in fresh}
        shown |= {one.key: one for one in fresh}
        if len(shown) > MOST:
            raise too_many()
        include = tuple(one for one in include if one.iterate)
        revinclude = tuple(one for one in revinclude if one.iterate)
    return [shown[key] for key in sorted(shown)]


def brought(
    store: Store,
    include: Sequence[Include],
    revinclude: Sequence[Include],
    sources: Sequence[Candidate],
    known: set[str],
    fence: Fence,
    canonicals: Canonicals,
) -> Iterator[Candidate]:
    """What one round of includes brings for `sources`; `known` need not be read again."""
    forward = {key for one in include for source in sources for key in pointed_at(source, one)}
    forward |= {key for one in include for source in sources for key in named_by(source, one, canonicals)}
    forward |= {key for one in revinclude for source in sources for key in naming(source, one, canonicals)}
    backward = {key for one in revinclude for source in sources for key in pointing_at(store, source.key, one)}
    wanted = (forward | backward) - known
    if len(wanted) > MOST:
        raise too_many()
    to = frozenset(source.key for source in sources)
    heads = store.read_many(sorted(wanted)) if wanted else {}
    for key, head in heads.items():
        candidate = Candidate(head, store.decode)
        if head.deleted or not fence(candidate):
            continue
        if key in forward or still_points(candidate, to, revinclude):
            yield candidate


def too_many() -> TooCostly:
    return TooCostly("the includes bring too many resources: ask for fewer matches a page", expression="_count")


def pointed_at(source: Candidate, include: Include) -> Iterable[str]:
    """The targets of a resource that one `_include` names."""
    if include.type not in (ANYTHING, source.head.type):
        return
    for target in source.through(include.parameter) if include.parameter else source.targets:
        if include.target is None or target.startswith(f"{include.target}/"):
            yield target


def named_by(source: Candidate, include: Include, canonicals: Canonicals) -> Iterable[str]:
    """The targets of a resource that one `_include` names, and canonicals lead to."""
    if include.type not in (ANYTHING, source.head.type):
        return
    for parameter in [include.parameter] if include.parameter else own(source.head.type):
        types = (include.target,) if include.target else parameter.targets
        yield from canonicals.pointed_at(source, parameter, types)


def naming(target: Candidate, include: Include, canonicals: Canonicals) -> Iterable[str]:
    """What refers to a resource by its url through one `_revinclude`; of every type it is not looked for."""
    if include.type == ANYTHING or include.target not in (None, target.head.type):
        return
    for parameter in [include.parameter] if include.parameter else own(include.type):
        yield from canonicals.pointing_at(target, include.type, parameter, MOST)


def pointing_at(store: Store, key: str, include: Include) -> Iterable[str]:
    """What points at a resource through one `_revinclude`: hints."""
    if include.target is not None and not key.startswith(f"{include.target}/"):
        return
    after: str | None = None
    count = 0
    while True:
        found = store.pointing_at(key, None if include.type == ANYTHING else include.type, after, _LISTED)
        for pointer in found:
            if include.code == ANYTHING or include.code in pointer.via:
                count += 1
                yield pointer.source
        if len(found) < _LISTED or count > MOST:
            return
        after = found[-1].source


def still_points(candidate: Candidate, to: frozenset[str], revinclude: Sequence[Include]) -> bool:
    """Whether the hint holds: the resource points now at one of `to`, through the parameter of a `_revinclude`."""
    return any(
        include.type in (ANYTHING, candidate.head.type)
        and target in to
        and (include.code == ANYTHING or include.code in via)
        and (include.target is None or target.startswith(f"{include.target}/"))
        for include in revinclude
        for target, via in candidate.targets.items()
    )
