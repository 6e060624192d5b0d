"""`_include` and `_revinclude`: the targets of a page's matches, and the resources that point at them; `:iterate` continues from these.

The result is bounded: of more than INCLUDED_LIMIT resources the page shows the first, and says so. Resources that the caller cannot
see are not counted, and the cost follows what the caller can see (see `race`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.errors import TooCostly
from bulkhead.search.canonicals import Canonicals, own
from bulkhead.search.query import ANYTHING, Include, Results
from bulkhead.search.race import Races
from bulkhead.store.version import Fence, Version, prepare

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

BATCH = 100
"""How many heads are read at once."""
LISTED = 1000
"""The limit on pointers of one listing."""
NAMED = 5_000
"""The limit on resources that are looked up by the url of one."""


@dataclass
class Includes:
    """The resources that one page includes."""

    store: ReadStore
    fence: Fence
    races: Races
    canonicals: Canonicals
    limit: int
    shown: dict[str, Version] = field(default_factory=dict)
    cut_off: bool = False
    """Whether there are, or may be, more than it shows: more than `limit`, or than it could look up."""
    _read: set[str] = field(default_factory=set)

    def bring(self, results: Results, matches: Sequence[Version]) -> list[Version]:
        """The resources to show after the matches, each once, by type and id, without those that the fence refuses.

        `:iterate` also applies to included resources, until there are no new ones. Targets of matches come before resources that point
        at matches, so that only the latter are cut where there are too many.
        """
        self._read = {match.key for match in matches}
        fresh: Sequence[Version] = matches
        include, revinclude = results.include, results.revinclude
        while fresh and (include or revinclude) and not self.cut_off:
            found: list[Version] = []
            for candidate in self.brought(include, revinclude, fresh):
                if len(self.shown) == self.limit:
                    self.cut_off = True
                    break
                self.shown[candidate.key] = candidate
                found.append(candidate)
            fresh = found
            include = tuple(one for one in include if one.iterate)
            revinclude = tuple(one for one in revinclude if one.iterate)
        return [self.shown[key] for key in sorted(self.shown)]

    def brought(
        self, include: Sequence[Include], revinclude: Sequence[Include], sources: Sequence[Version]
    ) -> Iterator[Version]:
        """The new resources that one round of includes finds for `sources`."""
        forward = {key for one in include for source in sources for key in pointed_at(source, one)}
        try:
            # One by one: those that were found before there are too many are shown.
            forward.update(
                key for one in include for source in sources for key in named_by(source, one, self.canonicals)
            )
        except TooCostly:
            self.cut_off = True
        forward |= {key for one in revinclude for source in sources for key in naming(source, one, self.canonicals)}
        yield from self.visible(sorted(forward))
        to = frozenset(source.key for source in sources)
        for one in revinclude:
            for candidate in self.pointing_at([source.key for source in sources], one):
                if still_points(candidate, to, [one]):
                    yield candidate

    def pointing_at(self, keys: Sequence[str], include: Include) -> Iterator[Version]:
        """Resources that may point at `keys` through one `_revinclude`."""
        types = () if include.type == ANYTHING else (include.type,)
        for key in keys:
            if include.target is not None and not key.startswith(f"{include.target}/"):
                continue
            after: str | None = None
            while True:
                found = self.store.pointing_at(key, types[0] if types else None, after, limit=LISTED)
                left = [one.source for one in found if include.code == ANYTHING or include.code in one.via]
                for start in range(0, len(left), BATCH):
                    race = self.races.won(types)
                    if race and race.complete:
                        # The list may contain resources that point elsewhere: the caller sees no others.
                        yield from self.visible(sorted(race.keys))
                        return
                    chunk = left[start : start + BATCH]
                    yield from self.visible([one for one in chunk if not race or race.may_hold(one)], types)
                if len(found) < LISTED:
                    break
                after = found[-1].source

    def visible(self, keys: Sequence[str], types: tuple[str, ...] = ()) -> Iterator[Version]:
        """The resources that exist and that the caller may see, without those that were read before."""
        for start in range(0, len(keys), BATCH):
            chunk = [key for key in keys[start : start + BATCH] if key not in self._read]
            self._read.update(chunk)
            heads = self.store.read_many(chunk) if chunk else {}
            candidates = [self.store.version(heads[key]) for key in chunk if key in heads and not heads[key].deleted]
            prepare(self.fence, candidates)
            for candidate in candidates:
                if self.fence(candidate):
                    yield candidate
                else:
                    self.races.count_hidden(types)


def pointed_at(source: Version, include: Include) -> Iterable[str]:
    """The targets of a resource that one `_include` names."""
    if include.type not in (ANYTHING, source.head.type):
        return
    for target in source.through(include.parameter) if include.parameter else source.targets:
        if include.target is None or target.startswith(f"{include.target}/"):
            yield target


def named_by(source: Version, include: Include, canonicals: Canonicals) -> Iterable[str]:
    """The targets of a resource that one `_include` names and canonicals lead to."""
    if include.type not in (ANYTHING, source.head.type):
        return
    for parameter in [include.parameter] if include.parameter else own(source.head.type):
        types = (include.target,) if include.target else parameter.targets
        yield from canonicals.pointed_at(source, parameter, types)


def naming(target: Version, include: Include, canonicals: Canonicals) -> Iterable[str]:
    """The resources that refer to one by its url through one `_revinclude`; none if it does not name a type."""
    if include.type == ANYTHING or include.target not in (None, target.head.type):
        return
    for parameter in [include.parameter] if include.parameter else own(include.type):
        yield from canonicals.pointing_at(target, include.type, parameter, most=NAMED)


def still_points(candidate: Version, to: frozenset[str], revinclude: Sequence[Include]) -> bool:
    """Whether the hint is right: the resource points now at one of `to`, through the parameter of a `_revinclude`."""
    return any(
        include.type in (ANYTHING, candidate.head.type)
        and target in to
        and (include.code == ANYTHING or include.code in via)
        and (include.target is None or target.startswith(f"{include.target}/"))
        for include in revinclude
        for target, via in candidate.targets.items()
    )
