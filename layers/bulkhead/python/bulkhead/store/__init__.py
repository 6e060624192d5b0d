"""The one table, and the bucket for bodies that are too large for it. The only room that knows DynamoDB and S3."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from msgspec import structs

from bulkhead import settings as _settings
from bulkhead.errors import Conflict, Purged, VersionConflict
from bulkhead.store import (
    account_commits,
    active_months,
    builtin,
    client,
    commits,
    content,
    counts,
    date_months,
    definitions,
    erasure,
    files,
    head_counts,
    heads,
    history,
    index,
    keys,
    layout,
    queries,
    receipts,
    secret,
    staging,
    sweeper,
    takeover,
    transaction_holds,
    transaction_marks,
    transactions,
)
from bulkhead.store.bodies import Bodies
from bulkhead.store.capacity import Meter, metered
from bulkhead.store.content import Content
from bulkhead.store.erasure import Eraser, Gravestone
from bulkhead.store.heads import Claim, Head, Inherit, Lineage, Receipt, Write
from bulkhead.store.index import Found, Moment, Pointer
from bulkhead.store.jobs import Job, Jobs
from bulkhead.store.reading import ReadStore
from bulkhead.store.table import Item, Table
from bulkhead.store.throttling import Patience
from bulkhead.store.transactions import once_a_request, one_request
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mypy_boto3_dynamodb.client import DynamoDBClient

    from bulkhead.facts.index_facts import Facts
    from bulkhead.store.integrity import Report

__all__ = [
    "Claim",
    "Found",
    "Gravestone",
    "Head",
    "Inherit",
    "Lineage",
    "Moment",
    "Pointer",
    "ReadStore",
    "Receipt",
    "Store",
    "Version",
    "Write",
    "connect",
    "once_a_request",
    "one_request",
]

BODIES = "bodies/"


class Store:
    """Resources, their versions, and the index over them. A `key` is `Observation/9`."""

    def __init__(self, dynamodb: DynamoDBClient, s3: Any, settings: _settings.Settings) -> None:
        self.settings = settings
        patience = Patience(settings.throttle_patience)
        self.table = Table(
            dynamodb,
            settings.table,
            settings.threads,
            transact_bulk=settings.bulk_writes == "transact",
            singly=settings.bulk_writes == "single",
            patience=patience,
        )
        self._s3, self._making_s3 = s3, Lock()
        self.definitions_mark = object()
        """A new object after each write of CompartmentDefinitions by this process."""

    @property
    def s3(self) -> Any:
        """The S3 client, made on first use: most requests need none. Threads that need it at once get one."""
        with self._making_s3:
            if callable(self._s3):
                self._s3 = self._s3()
            return self._s3

    @cached_property
    def secret(self) -> bytes:
        """The secret of this table and its servers: 32 bytes."""
        return secret.read(self.table)

    # Reading

    def read(self, key: str) -> Head | None:
        """The current version, strongly consistent; a deleted one has `deleted`. None if there never was one."""
        place = key, keys.HEAD
        item = self.table.get(place)
        return (transaction_marks.current(self.table, {place: item}).get(key) if item else None) or builtin.head(key)

    def read_many(self, wanted: Iterable[str]) -> dict[str, Head]:
        """The current versions of many resources, 100 per request; includes deleted ones, leaves out absent ones."""
        asked = list(wanted)
        items = self.table.get_many((key, keys.HEAD) for key in asked)
        found = transaction_marks.current(self.table, items)
        found.update(builtin.missing(asked, found))
        return found

    def built_in(self, key: str) -> Head | None:
        """The resource that exists under `key` although nobody wrote it; None for nearly all keys."""
        return builtin.head(key)

    def read_version(self, key: str, version: int) -> Head | None:
        """One version, current or past. None if there is none."""
        head = self.read(key)
        if head is None or version >= head.version:
            return head if head and version == head.version else None
        item = self.table.get((key, keys.version_sort(version)))
        return heads.from_item(item) if item else None

    def versions(self, key: str, before: int | None, count: int) -> list[Head]:
        """Up to `count` versions below `before` (None: from the current one), the newest first."""
        head = self.read(key)
        if head is None:
            return []
        found = [head] if before is None or head.version < before else []
        top = min(head.version, before or head.version)
        if len(found) < count and top > 1:
            first, last = keys.version_sort(0), keys.version_sort(top - 1)
            for item in self.table.query(key, first, last, limit=count, backwards=True):
                found.append(heads.from_item(item))
                if len(found) == count:
                    break
        return found[:count]

    def read_versions(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Head]:
        """Superseded versions by key and number, 100 per request; absent ones are left out."""
        return history.read_versions(self.table, wanted)

    def horizon(self) -> str:
        """The instant up to which the lists of versions are complete: see `history.horizon`."""
        return history.horizon(self.table, self.settings.history_settle)

    def decode(self, head: Head) -> dict[str, Any]:
        """The resource in a version that is not deleted, without version, time, accounts and compartments in `meta`."""
        return self.content(head).decode()

    def content(self, head: Head) -> Content:
        """The content of a version that is not deleted, not parsed."""
        assert head.body is not None
        if head.body[:1] == heads.IN_S3:
            name = BODIES + head.body[1:].decode()
            answer = self.s3.get_object(Bucket=self.settings.bucket, Key=name)
            return content.read(answer["Body"].read())
        return content.read(head.body)

    def version(self, head: Head) -> Version:
        """The version that `head` describes; its content is read on first use."""
        return Version(head, self.decode, read=self.content)

    def encode(self, resource: dict[str, Any], targets: Mapping[str, frozenset[str]] | None = None) -> bytes:
        """A resource in the form of a Write's `body`; `targets` are those of its facts, where they are known."""
        return content.encode(resource, targets)

    # Writing

    def commit(
        self,
        writes: Sequence[Write],
        claims: Sequence[Claim] = (),
        inherit: Inherit | None = None,
        *,
        receipt: Receipt | None = None,
    ) -> list[Head]:
        """Commits all or nothing: see `commits.commit`. VersionConflict, ClaimTaken, JobMovedOn, Conflict, Unavailable."""
        listed = definitions.listed_as(writes)
        if listed:
            definitions.note(self.table, listed)
        try:
            return commits.commit(
                self.table,
                self._bodies,
                self.settings,
                writes=writes,
                claims=claims,
                inherit=inherit,
                receipt=receipt,
            )
        except Conflict:
            self._require_unburied([write for write in writes if not write.fresh])
            raise
        finally:
            if listed:
                # Also where it failed: a commit may stand though its answer was lost.
                self.definitions_mark = object()

    def _require_unburied(self, writes: Sequence[Write]) -> None:
        """Purged where one of these writes, which have failed, is of a resource that was purged; what they staged is taken away."""
        stones = self.gravestones(write.key for write in writes).values()
        # A function that serves requests may not remove objects: then the sweeper does, when the id is free.
        staging.afterwards(lambda: self._eraser.erase(stones, late=writes))
        for stone in stones:
            # The id of one that is over is free now, or as soon as whoever erases there at this moment has done so.
            if not stone.is_over and not stone.held:
                raise Purged(stone.key, None if stone.open else stone.until)

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(self.table, lambda: self.s3, bucket=self.settings.bucket, prefix=BODIES)

    def commit_each(self, writes: Sequence[Write]) -> set[str]:
        """Independent changes of accounts; the keys that were not written, because someone else was faster."""
        left_out = account_commits.commit_each(self.table, writes)
        self._eraser.erase(self.gravestones(left_out).values())
        return left_out

    # Erasing

    @cached_property
    def _eraser(self) -> Eraser:
        return Eraser(self.table, self._bodies, self._facts_of)

    def gravestones(self, wanted: Iterable[str]) -> dict[str, Gravestone]:
        """What stands where some of these resources were; strongly consistent."""
        return erasure.read(self.table, wanted)

    def bury(
        self, buried: Sequence[Head], events: Sequence[Write], *, is_open: bool = False, patients: Sequence[str] = ()
    ) -> None:
        """Make up to 50 resources unreadable, in one commit with `events`: see `erasure`. VersionConflict."""
        self._eraser.bury(self.settings, buried, events, is_open=is_open, patients=patients)

    def erase(self, buried: Sequence[str]) -> set[str]:
        """Erase all that there is of some buried resources; of which there was anything. Idempotent."""
        return self._eraser.erase(self.gravestones(buried).values())

    def close_grave(self, key: str) -> None:
        """The purge of this target is done."""
        self._eraser.close(key)

    def set_propagate(self, head: Head, *, flag: bool, within: Mapping[str, tuple[str, ...]]) -> None:
        """Sets whether, and within which bounds, new resources in its compartment inherit the accounts of `head`. VersionConflict."""
        if not account_commits.set_propagate(self.table, head, structs.replace(head, propagate=flag, within=within)):
            transaction_marks.clear(self.table, head.key)
            raise VersionConflict(head.key)

    def claim_owner(self, condition: str) -> str | None:
        """The owner of the condition of a conditional create, after the transaction that is about to claim it is decided."""
        pk = keys.claim_key(condition)
        item = self.table.get((pk, keys.HEAD))
        if item and transaction_marks.marked(item) and transaction_marks.clear(self.table, pk):
            item = self.table.get((pk, keys.HEAD))
        return item["owner"]["S"] if item else None

    def keep_query(self, pairs: Sequence[tuple[str, str]]) -> str | None:
        """Keep the parameters of a search for its page links, under the id that is returned: see `queries.keep`."""
        return queries.keep(self.table, self.secret, pairs, days=self.settings.page_link_days)

    def kept_query(self, identifier: str) -> list[tuple[str, str]] | None:
        """What `keep_query` kept; None where there is nothing (any more)."""
        return queries.kept(self.table, identifier)

    # Jobs and large transactions

    @cached_property
    def jobs(self) -> Jobs:
        """The asynchronous requests."""
        return Jobs(self.table)

    def receipts(self, job: str) -> dict[int, str]:
        """The responses of finished entries of a job's batch, by entry."""
        return receipts.contents(self.table, job)

    def abandon(self, job: Job) -> None:
        """Ends the large transaction that an earlier attempt of the job left behind: see `receipts.abandon`."""
        receipts.abandon(self.table, job)

    def lineage(self, job: Job) -> Lineage | None:
        """How to go on with the large transaction that an earlier attempt of the job left behind: see `takeover.lineage`."""
        return takeover.lineage(self.table, job, self.settings.transaction_lease)

    def renewed(self, job: Job) -> AbstractContextManager[None]:
        """Within this context the transaction that an earlier attempt of the job left behind is not aborted because its lease ends."""
        left = job.transaction
        return transactions.renewed(self.table, left, self.settings.transaction_lease) if left else nullcontext()

    def are_held(self, resources: Iterable[str]) -> bool:
        """Whether a large transaction in progress holds any of `resources`, including new ones that it makes."""
        return transaction_holds.held(self.table, resources)

    def release(self, resources: Iterable[str]) -> None:
        """Removes the marks of finished large transactions from `resources`. Idempotent."""
        transaction_holds.release(self.table, resources)

    def abort_open(self) -> list[str]:
        """Aborts the open transactions that no job takes over, for the only process on the table: see `sweeper.abort`."""
        return sweeper.abort(self.table, everything=True)

    def sweep(self) -> int:
        """Finish what dead processes left behind: see `sweeper.sweep`."""
        self._eraser.sweep()
        return sweeper.sweep(self.table)

    def check_integrity(self, *, repair: bool, patience: float | None) -> Report:
        """Compares the whole table with its index, and repairs faults if `repair` is True: see `rounds.check`."""
        from bulkhead.store import rounds

        return rounds.check(self.table, self._facts_of, self._bodies, repair=repair, patience=patience)

    def check_integrity_on(self, pages: int, time_left: Callable[[], bool]) -> Report:
        """Continues the integrity check where the last round ended: see `rounds.check_on`."""
        from bulkhead.store import rounds

        return rounds.check_on(self.table, self._facts_of, self._bodies, pages=pages, time_left=time_left)

    def check_segment(
        self, number: int, *, of: int, after: Item | None, time_left: Callable[[], bool]
    ) -> tuple[Report, Item | None]:
        """Compares a segment of the table with its index: see `rounds.check_segment`."""
        from bulkhead.store import rounds

        return rounds.check_segment(
            self.table, self._facts_of, self._bodies, number=number, of=of, after=after, time_left=time_left
        )

    def adopt_bodies(self, after: str | None, time_left: Callable[[], bool]) -> tuple[int, str | None]:
        """Gives large bodies that older code put into the bucket what leads to them: see `Bodies.adopt`."""
        return self._bodies.adopt(after, time_left)

    def note_layout(self, report: Report) -> None:
        """Notes the present layout after a check of the whole table, unless something was held then: see `layout`."""
        if not report.held:
            layout.complete(self.table)

    def _facts_of(self, head: Head) -> Facts:
        from bulkhead.facts import index_facts

        return index_facts.facts(self.decode(head))

    def metered(self) -> AbstractContextManager[Meter]:
        """Counts all requests to DynamoDB within this context, from any thread."""
        return metered(self.table.client)

    # The index: hints, to be checked against the heads

    def written_definitions(self) -> list[str]:
        """Keys of all CompartmentDefinitions that were ever written, sorted; strongly consistent."""
        return definitions.written(self.table)

    def governing(self, resource_type: str, name: str) -> Sequence[str]:
        """Keys of SearchParameters with a code, ValueSets and CodeSystems with a url (all CodeSystems: ""), as unfenced callers wrote them.

        Sorted; strongly consistent. Hints: each head says what it is now (`governing.governs`).
        """
        return definitions.governing(self.table, resource_type, name)

    def compartment_definitions(self) -> list[str]:
        """Keys of all CompartmentDefinitions, including those of R4 that nobody has written, sorted."""
        return sorted({*definitions.written(self.table), *builtin.heads()})

    def pointing_at(
        self, target: str, resource_type: str | None = None, after: str | None = None, *, limit: int = 1000
    ) -> list[Pointer]:
        """Resources that point at `target`, ordered by type and id, after the source `after`; fewer than `limit` at the end."""
        return index.pointing_at(self.table, keys.target_partitions(target), resource_type, after=after, limit=limit)

    def formerly_pointing_at(self, target: str, after: str | None = None, limit: int = 1000) -> list[Pointer]:
        """Resources that pointed at a Patient, or at what a Binary followed, and were deleted or changed since; paged the same way."""
        return index.pointing_at(self.table, [keys.former_partition(target)], None, after=after, limit=limit)

    def in_account(
        self, account: str, resource_type: str | None = None, after: str | None = None, *, limit: int = 1000
    ) -> list[Pointer]:
        """Resources that carry `account`, in the same order and paging. NO_ACCOUNT: what of SHARED_TYPES carries none."""
        return index.pointing_at(self.table, keys.account_partitions(account), resource_type, after=after, limit=limit)

    def by_value(
        self,
        resource_type: str,
        parameter: str,
        value: str,
        *,
        prefix: str | None = None,
        first: str | None = None,
        last: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> list[Found]:
        """Resources under a value, ordered by sort and id, after the position `after`: see `index.by_value`."""
        return index.by_value(
            self.table,
            resource_type,
            parameter,
            value=value,
            prefix=prefix,
            first=first,
            last=last,
            after=after,
            limit=limit,
        )

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
        """Resources of a patient or of a code (`of_code`) in clinical order, after a position: see `index.by_date`."""
        partition = (keys.value_partition if of_code else keys.care_partition)(resource_type, parameter, value)
        return index.by_date(
            self.table,
            of_code=of_code,
            partition=partition,
            first=first,
            last=last,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )

    def is_in_clinical_order(self) -> bool:
        """Whether every resource of the table has its entries in clinical order: see `layout`."""
        return layout.has(self.table, layout.CLINICAL)

    def has_categories(self) -> bool:
        """Whether every resource of the table has its entries in clinical order of a category, too: see `layout`."""
        return layout.has(self.table, layout.CATEGORIES)

    def is_in_date_order(self) -> bool:
        """Whether every resource of the table has its entries in the order of each of its dates: see `layout`."""
        return layout.has(self.table, layout.DATES)

    def date_months(self, resource_type: str, parameter: str) -> list[str]:
        """The partitions that hold dates of a parameter, sorted: see `date_months.months`."""
        return date_months.months(self.table, resource_type, parameter)

    def count(self, resource_type: str, *, most: int) -> int | None:
        """How many resources of a type there are, from keys alone, where `can_count`; None if that takes more than about `most`."""
        return counts.of_type(self.table, resource_type, most=most)

    def can_count(self) -> bool:
        """Whether the keys tell what is deleted: see `layout`."""
        return layout.has(self.table, layout.DELETIONS)

    def heads_pointing_at(self, patient: str, resource_type: str | None, *, most: int) -> Mapping[str, frozenset[str]]:
        """Resources that point at a Patient before all others, and how, without reading them: see `head_counts.pointing_at`."""
        return head_counts.pointing_at(self.table, patient, resource_type, most=most)

    def heads_with_code(self, resource_type: str, parameter: str, code: str, *, most: int) -> Mapping[str, str]:
        """Resources with a code, each with its system, without reading them: see `head_counts.with_code`."""
        return head_counts.with_code(self.table, resource_type, parameter=parameter, code=code, most=most)

    def heads_can_count(self) -> bool:
        """Whether the keys of every head say what counts under a condition need: see `layout`."""
        return layout.has(self.table, layout.COUNTS)

    def count_of_accounts(
        self, resource_type: str, accounts: Collection[str], *, is_counted: Callable[[Head], bool], most: int
    ) -> int | None:
        """How many resources of a type carry one of some accounts, where `heads_can_count`: see `counts.of_accounts`."""
        return counts.of_accounts(self.table, resource_type, accounts, is_counted=is_counted, most=most)

    def has_literals(self) -> bool:
        """Whether every resource of the table has an entry for each of its literal references: see `layout`."""
        return layout.has(self.table, layout.LITERALS)

    def types_in_use(self) -> list[str]:
        """Every type with a resource that was ever written, sorted."""
        return active_months.types(self.table)

    def by_time(
        self,
        resource_type: str,
        since: str | None = None,
        until: str | None = None,
        *,
        after: str | None = None,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[Moment]:
        """Versions by lastUpdated, after the position `after`: see `index.by_time`."""
        return index.by_time(
            self.table, resource_type, since, until=until, after=after, limit=limit, newest_first=newest_first
        )


@lru_cache(maxsize=1)
def connect() -> Store:
    """The store of this process, configured by the settings and the standard AWS variables."""
    settings = _settings.current()
    return Store(client.dynamodb(settings.threads, settings.read_timeout), files.client, settings)
