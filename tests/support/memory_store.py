"""A store in memory, a `ReadStore`: hints by what facts say, stale ones if asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from copy import deepcopy
from itertools import count
from typing import Any

from msgspec.structs import replace

from bulkhead.facts.index_facts import Facts, facts
from bulkhead.settings import Settings
from bulkhead.store import Found, Head, Moment, Pointer, date_months, keys, staging
from bulkhead.store.definitions import ALL, NAMED_BY
from bulkhead.store.version import Version


class MemoryStore:
    """`put` and `delete` write; `reads` counts requests as DynamoDB would (100 heads a request)."""

    def __init__(self, keep_stale: bool = False) -> None:
        self.current: dict[str, Head] = {}
        self.past: dict[tuple[str, int], Head] = {}
        self.bodies: dict[bytes, dict[str, Any]] = {}
        self.facts: dict[str, list[Facts]] = {}
        self.keep_stale = keep_stale
        self.reads: list[str] = []
        self.settings = Settings(definitions_ttl=0)
        self.definitions_mark = object()
        self.in_clinical_order = True
        self.in_date_order = True
        self._second = -1
        self._names = count()

    # Writing

    def put(
        self,
        resource: dict[str, Any],
        accounts: tuple[str, ...] = (),
        updated: str | None = None,
        unfenced: bool = True,
    ) -> Head:
        key = f"{resource['resourceType']}/{resource['id']}"
        name = str(next(self._names)).encode()
        self.bodies[name] = deepcopy(resource)
        head = self._next(key, name, accounts, updated, unfenced)
        known = facts(resource)
        self.facts[key] = [*self.facts.get(key, []), known] if self.keep_stale else [known]
        return head

    def delete(self, key: str) -> Head:
        return self._next(key, None, (), None)

    def _next(
        self,
        key: str,
        body: bytes | None,
        accounts: tuple[str, ...],
        updated: str | None,
        unfenced: bool = True,
    ) -> Head:
        base = self.current.get(key)
        if base:
            self.past[key, base.version] = base
        self._second += 1
        head = Head(key, base.version + 1 if base else 1, updated or self.now(), "PUT", body, accounts)
        head = replace(head, unfenced=unfenced)
        self.current[key] = head
        return head

    def touch(self, key: str) -> Head:
        """A new version with the same content, as a change of accounts makes it."""
        base = self.current[key]
        return self._next(key, base.body, base.accounts, None)

    def now(self) -> str:
        """The moment of the last write: each is a second after the one before."""
        return f"2026-01-01T{self._second // 3600:02d}:{self._second // 60 % 60:02d}:{self._second % 60:02d}.000Z"

    # Reading

    def read(self, key: str) -> Head | None:
        self.reads.append("GetItem")
        return self.current.get(key)

    def read_many(self, wanted: Iterable[str]) -> dict[str, Head]:
        keys = list(wanted)
        self.reads += ["BatchGetItem"] * -(-len(keys) // 100)
        return {key: self.current[key] for key in keys if key in self.current}

    def read_version(self, key: str, version: int) -> Head | None:
        self.reads.append("GetItem")
        head = self.current.get(key)
        return head if head and head.version == version else self.past.get((key, version))

    def read_versions(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Head]:
        self.reads.append("BatchGetItem")
        return {one: self.past[one] for one in wanted if one in self.past}

    def version(self, head: Head) -> Version:
        return Version(head, self.decode)

    def decode(self, head: Head) -> dict[str, Any]:
        assert head.body is not None
        return self.bodies[head.body]

    def written_definitions(self) -> list[str]:
        return sorted(key for key in self.current if key.startswith("CompartmentDefinition/"))

    def governing(self, resource_type: str, name: str) -> list[str]:
        self.reads.append("Query")
        code = NAMED_BY[resource_type]
        return sorted(
            key
            for key, known in self.facts.items()
            if key.startswith(f"{resource_type}/")
            and (name == ALL or any((v.parameter, v.value) == (code, name) for one in known for v in one.values))
        )

    def compartment_definitions(self) -> list[str]:
        return self.written_definitions()

    def pointing_at(
        self, target: str, resource_type: str | None = None, after: str | None = None, limit: int = 1000
    ) -> list[Pointer]:
        self.reads.append("Query")
        found = [
            Pointer(key, frozenset().union(*(one.targets.get(target, frozenset()) for one in known)))
            for key, known in sorted(self.facts.items())
            if any(target in one.named for one in known)
        ]
        return self._paged(found, resource_type, after, limit)

    def in_account(
        self, account: str, resource_type: str | None = None, after: str | None = None, limit: int = 1000
    ) -> list[Pointer]:
        self.reads.append("Query")
        found = [
            Pointer(key, frozenset({"_account"}))
            for key, head in sorted(self.current.items())
            if account in staging.listed_accounts(head)
        ]
        return self._paged(found, resource_type, after, limit)

    def _paged(self, found: list[Pointer], resource_type: str | None, after: str | None, limit: int) -> list[Pointer]:
        wanted = [one for one in found if resource_type in (None, one.source.partition("/")[0])]
        return [one for one in wanted if after is None or one.source > after][:limit]

    def by_value(
        self,
        resource_type: str,
        parameter: str,
        value: str,
        prefix: str | None = None,
        first: str | None = None,
        last: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> list[Found]:
        self.reads.append("Query")
        found = set()
        for key, known in self.facts.items():
            for entry in frozenset().union(*(one.values for one in known)):
                of_type = "*" if parameter[0] == "_" else resource_type
                named = "*" if parameter[0] == "_" else key.partition("/")[0]
                if (named, entry.parameter, entry.value) != (of_type, parameter, value):
                    continue
                place = f"{entry.sort}#{key.partition('/')[2]}"
                inside = (first is None or entry.sort >= first) and (last is None or entry.sort <= last)
                if inside and place.startswith(prefix or "") and (after is None or place > after):
                    found.add(Found(key, entry.sort, place))
        return sorted(found, key=lambda one: one.position)[:limit]

    def by_date(
        self,
        resource_type: str,
        parameter: str,
        value: str,
        *,
        of_code: bool,
        first: str,
        last: str,
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> list[Found]:
        self.reads.append("Query")
        found = set()
        for key, known in self.facts.items():
            for entry in frozenset().union(*(one.values if of_code else one.dated for one in known)):
                place = f"{entry.sort}#{key.partition('/')[2]}"
                named = (key.partition("/")[0], entry.parameter, entry.value) == (resource_type, parameter, value)
                inside = first <= place and (place <= last or place.startswith(last))
                beyond = after is None or (place < after if newest_first else place > after)
                if named and inside and beyond:
                    found.add(Found(key, entry.sort, place))
        return sorted(found, key=lambda one: one.position, reverse=newest_first)[:limit]

    def is_in_clinical_order(self) -> bool:
        return self.in_clinical_order

    def has_categories(self) -> bool:
        return self.in_clinical_order

    def is_in_date_order(self) -> bool:
        return self.in_date_order

    def date_months(self, resource_type: str, parameter: str) -> list[str]:
        self.reads.append("Query")
        sorts = {
            sort
            for key, known in self.facts.items()
            for one in known
            for sort in date_months.of_facts(key.partition("/")[0], one)
        }
        prefix = f"{resource_type}|{parameter}#"
        return sorted(sort.removeprefix(prefix) for sort in sorts if sort.startswith(prefix))

    def has_literals(self) -> bool:
        return True

    def types_in_use(self) -> list[str]:
        self.reads.append("Query")
        return sorted({head.type for head in self.current.values()})

    def can_count(self) -> bool:
        return True

    def heads_can_count(self) -> bool:
        return True

    def heads_pointing_at(self, patient: str, resource_type: str | None, *, most: int) -> dict[str, frozenset[str]]:
        self.reads.append("Query")
        partition = keys.counted_target_partition(patient)
        return {
            head.key: via
            for head, attributes, via in self._said()
            if attributes.get("tpk") == partition and resource_type in (None, head.type)
        }

    def heads_with_code(self, resource_type: str, parameter: str, code: str, *, most: int) -> dict[str, str]:
        self.reads.append("Query")
        partition = keys.counted_value_partition(resource_type, parameter, code)
        return {
            head.key: keys.system_of(attributes["vsk"])
            for head, attributes, _ in self._said()
            if attributes.get("vpk") == partition
        }

    def _said(self) -> Iterator[tuple[Head, dict[str, str], frozenset[str]]]:
        """What each head says for counts."""
        for head in self.current.values():
            known = None if head.deleted else facts(self.decode(head))
            yield head, *keys.head_entry(head.key, known)

    def count(self, resource_type: str, *, most: int) -> int | None:
        self.reads.append("Query")
        found = sum(1 for head in self.current.values() if head.type == resource_type and not head.deleted)
        return found if found <= most else None

    def count_of_accounts(
        self, resource_type: str, accounts: Collection[str], *, is_counted: Callable[[Head], bool], most: int
    ) -> int | None:
        self.reads.append("Query")
        named = [
            head
            for head in self.current.values()
            if head.type == resource_type and not head.deleted and not set(head.accounts).isdisjoint(accounts)
        ]
        assert all(map(is_counted, named))
        return len(named) if len(named) <= most else None

    def by_time(
        self,
        resource_type: str,
        since: str | None = None,
        until: str | None = None,
        after: str | None = None,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[Moment]:
        self.reads.append("Query")
        found = [
            Moment(head.key, head.version, head.updated, f"{head.updated}#{head.id}#{head.version:010d}")
            for head in [*self.current.values(), *self.past.values()]
            if head.type == resource_type and (since or "") <= head.updated <= (until or "~")
        ]
        found.sort(key=lambda one: one.position, reverse=newest_first)
        if after is not None:
            found = [one for one in found if (one.position < after if newest_first else one.position > after)]
        return found[:limit]


def represent(version: Version) -> dict[str, Any]:
    head, body = version.head, version.body
    return {**body, "meta": {**body.get("meta", {}), "versionId": str(head.version), "lastUpdated": head.updated}}


def head_of(resource: dict[str, Any], **changes: Any) -> Head:
    """A head for tests of matching alone: its body is never decoded from bytes."""
    key = f"{resource['resourceType']}/{resource.get('id', '1')}"
    return replace(Head(key, 1, "2026-01-01T00:00:00.000Z", "PUT", b""), **changes)
