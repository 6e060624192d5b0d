"""Reads the three indexes. The results are hints: read the head of each, and check it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from bulkhead.store import active_months, keys
from bulkhead.store.table import Item, Table


@dataclass(frozen=True, slots=True)
class Pointer:
    """`source` (`Observation/9`) points at the target through the search parameters `via`."""

    source: str
    via: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """A resource under a value of by-value. The next page begins after `position`."""

    key: str
    sort: str
    position: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A version of a resource in by-time. The next page begins after `position`."""

    key: str
    version: int
    updated: str
    position: str


def _index(name: str) -> tuple[str, tuple[str, str]]:
    return name, keys.INDEXES[name]


def _merged(
    table: Table,
    name: str,
    partitions: Sequence[str],
    *,
    first: str | None,
    last: str | None,
    after: str | None,
    limit: int,
    backwards: bool = False,
) -> Iterator[Item]:
    """The items of several partitions (the shards of one) in order of the sort key; their first pages are fetched in parallel."""
    sort_name = keys.INDEXES[name][1]
    streams = [
        table.query(partition, first, last, index=_index(name), after=after, limit=limit, backwards=backwards)
        for partition in partitions
    ]
    heads = table.parallel(lambda stream: list(islice(stream, 1)), streams)
    begun = [chain(head, stream) for head, stream in zip(heads, streams, strict=True)]
    return heapq.merge(*begun, key=lambda item: item[sort_name]["S"], reverse=backwards)


def pointing_at(
    table: Table, partitions: Sequence[str], resource_type: str | None, *, after: str | None, limit: int
) -> list[Pointer]:
    """Sources in the by-target `partitions` of one target, ordered by type and id, each once; fewer than `limit` at the end.

    `after` is the last source of the page before. Entries of one source (its pairs may have shifted) become one Pointer.
    """
    prefix = keys.source_sort(f"{resource_type}/") if resource_type else None
    position = keys.source_sort(after) if after else None
    pointers: list[Pointer] = []
    # One more than asked for, in the same page: only the next source shows that all entries of the last one were read.
    for item in _merged(table, keys.BY_TARGET, partitions, first=prefix, last=prefix, after=position, limit=limit + 1):
        source = keys.source_key(item["tsk"]["S"])
        via = frozenset(item["via"]["SS"]) if "via" in item else frozenset()
        if pointers and pointers[-1].source == source:
            pointers[-1] = Pointer(source, pointers[-1].via | via)
        elif len(pointers) == limit:
            break
        else:
            pointers.append(Pointer(source, via))
    return pointers


def by_value(
    table: Table,
    resource_type: str,
    parameter: str,
    *,
    value: str,
    prefix: str | None,
    first: str | None,
    last: str | None,
    after: str | None,
    limit: int,
) -> list[Found]:
    """Resources under one value, ordered by sort and id; fewer than `limit` at the end. Identifiers: strongly consistent.

    `prefix` is the beginning of their sort; `first` and `last` bound it, inclusive (`last` with all that begins with it).
    """
    if prefix is not None:
        first = last = keys.limited(prefix[:-1], keys.SORT_LIMIT) + "#" if prefix.endswith("#") else prefix
    partition = keys.value_partition(resource_type, parameter, value)
    if parameter == keys.IDENTIFIER:
        found = _identified(table, partition, first, last=last, after=after, limit=limit)
    elif parameter[0] == "_":
        items = _merged(
            table,
            keys.BY_VALUE,
            keys.meta_partitions(parameter, value),
            first=first,
            last=last,
            after=after,
            limit=limit,
        )
        found = ((item["pk"]["S"], item["vsk"]["S"]) for item in items)
    else:
        items = table.query(partition, first, last, index=_index(keys.BY_VALUE), after=after, limit=limit)
        found = ((item["pk"]["S"], item["vsk"]["S"]) for item in items)
    return [Found(key, position.rpartition("#")[0], position) for key, position in islice(found, limit)]


def by_date(
    table: Table,
    *,
    of_code: bool,
    partition: str,
    first: str,
    last: str,
    after: str | None,
    limit: int,
    newest_first: bool,
) -> list[Found]:
    """Resources of one partition in clinical order, by text and id; fewer than `limit` at the end.

    `of_code` tells the partitions of by-value from those of by-time. `first` and `last` bound the text, inclusive (`last` with all
    that begins with it); `after` is a position, or any text up to which all is left out.
    """
    name = keys.BY_VALUE if of_code else keys.BY_TIME
    items = table.query(partition, first, last, index=_index(name), after=after, limit=limit, backwards=newest_first)
    found = ((item["pk"]["S"], item[keys.INDEXES[name][1]]["S"]) for item in items)
    return [Found(key, position.rpartition("#")[0], position) for key, position in islice(found, limit)]


def _identified(
    table: Table, partition: str, first: str | None, *, last: str | None, after: str | None, limit: int
) -> Iterator[tuple[str, str]]:
    for item in table.query(partition, first, last, after=after, limit=limit):
        key = partition, item["sk"]["S"]
        if keys.is_identifier(key):
            yield keys.identified(key), key[1]


def by_time(
    table: Table,
    resource_type: str,
    since: str | None,
    *,
    until: str | None,
    after: str | None,
    limit: int,
    newest_first: bool,
) -> list[Moment]:
    """Versions, current and past, ordered by lastUpdated; fewer than `limit` at the end.

    `since` and `until` are instants, inclusive. A version may come twice while it is being superseded. `after` is a position, of this
    type or of another.
    """
    listed = [
        month
        for month in active_months.months(table, resource_type)
        if (since is None or month >= since[:7]) and (until is None or month <= until[:7])
    ]
    if after:
        listed = [month for month in listed if (month <= after[:7] if newest_first else month >= after[:7])]
    moments: list[Moment] = []
    start = keys.behind_time(after) if after and not newest_first else after
    for month in reversed(listed) if newest_first else listed:
        partitions = keys.time_partitions(resource_type, month)
        left = limit - len(moments)
        items = _merged(
            table, keys.BY_TIME, partitions, first=since, last=until, after=start, limit=left, backwards=newest_first
        )
        for item in islice(items, left):
            updated, version, _ = keys.time_of(item["msk"]["S"])
            moments.append(Moment(item["pk"]["S"], version, updated, keys.time_position(item["msk"]["S"])))
        if len(moments) == limit:
            break
    return moments
