"""The item of a large transaction: one point of truth for thousands of heads.

PENDING -> COMMITTED, ABORTED or TAKEN_OVER, once. A head with its mark (`txn`) means the new version if the transaction is COMMITTED, and
the previous state otherwise. What an aborted one staged is removed; of one that was taken over, another one has it (`takeover`). The
by-time index lists an open transaction; a finished one expires.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from bulkhead.errors import Unavailable
from bulkhead.fhir import dates, json
from bulkhead.store import keys
from bulkhead.store.heads import Lineage
from bulkhead.store.keys import Key
from bulkhead.store.table import ConditionFailed, Item, Table, pieces

PENDING, COMMITTED, ABORTED, TAKEN_OVER = "PENDING", "COMMITTED", "ABORTED", "TAKEN_OVER"

PENDING_STILL = "#state = :pending"
FRESH = "+"
"""Before a member whose id is fresh."""

# How many keys of a transaction fit one item, which holds 400 KB.
_KEYS = 4000
_PAGE_BYTES = 300_000
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class _View:
    """What one request, or one attempt of it, has found out: it never sees two heads of a transaction on different sides of the commit."""

    states: dict[str, str] = field(default_factory=dict)
    found: dict[Hashable, Any] = field(default_factory=dict)


# Neither the Session nor an argument: each attempt to commit, and each entry of a bundle, has a view of its own, several at once in
# threads, below functions that know one store only. Without a view everything is read anew each time, which is always right.
_view: ContextVar[_View | None] = ContextVar("view", default=None)

T = TypeVar("T")


@contextmanager
def one_request() -> Iterator[None]:
    """Within this context, one client's request, the state of each large transaction is read once, so it does not change."""
    token = _view.set(_View())
    try:
        yield
    finally:
        _view.reset(token)


def once_a_request(question: Hashable, find_out: Callable[[], T]) -> T:
    """The result of `find_out`, called once in this request for a question; every time if there is no request.

    A question is the function that asks, and the resource that it asks about.
    """
    view = _view.get()
    if view is None:
        return find_out()
    if question not in view.found:
        view.found[question] = find_out()
    found: T = view.found[question]
    return found


def begin(
    table: Table,
    members: Sequence[str],
    lease: int,
    *,
    entries: Sequence[Key] = (),
    lineage: Lineage | None = None,
    together: Callable[[str], Sequence[Item]] = lambda transaction: (),
) -> str:
    """Writes a PENDING transaction over `members`, to be decided within `lease` seconds. Returns its id.

    A member is a partition key; a leading `+` says that its id is fresh: no other writer uses it, or none but those of its `lineage`.
    `entries` are items in other partitions that an abort removes. `together`: actions without which it does not begin; ConditionFailed,
    with their positions from 1 on.
    """
    transaction = str(uuid4())
    listed: list[str | Key] = [*members, *entries]
    pages = [
        {
            "pk": {"S": keys.transaction_key(transaction)},
            "sk": {"S": keys.members_sort(n)},
            "keys": {"B": zlib.compress(json.dumps({"listed": page}))},
        }
        for n, page in enumerate(pieces(listed, _size, _KEYS, room=_PAGE_BYTES))
    ]
    # First what the sweeper finds: whoever dies in between leaves no list of keys that nobody finds.
    item: Item = {
        "pk": {"S": keys.transaction_key(transaction)},
        "sk": {"S": keys.HEAD},
        "state": {"S": PENDING},
        "pages": {"N": str(len(pages))},
        "expires": {"N": str(time.time() + lease)},
        "mpk": {"S": keys.OPEN_TRANSACTIONS},
        "msk": {"S": keys.open_transaction_sort(dates.now(), transaction)},
    }
    if lineage:
        item |= {"seed": {"S": lineage.seed}, "former": {"L": [{"S": one} for one in lineage.former]}}
    table.write([table.put_action(item), *together(transaction)])
    table.put_many(pages)
    return transaction


def _size(member: str | Key) -> int:
    return len("".join(member).encode())


def members(table: Table, transaction: str) -> tuple[list[str], list[Key]]:
    """The members and entries of a transaction, as `begin` wrote them."""
    pages = table.query(keys.transaction_key(transaction), keys.MEMBERS, keys.MEMBERS)
    listed: list[Any] = [one for page in pages for one in json.loads(zlib.decompress(page["keys"]["B"]))["listed"]]
    return [one for one in listed if isinstance(one, str)], [
        (one[0], one[1]) for one in listed if isinstance(one, list)
    ]


def decide(table: Table, transaction: str, state: str, *, checks: Sequence[Item] = ()) -> bool:
    """Changes PENDING to `state`. Returns whether it has that state now, even if an earlier attempt set it and its answer was lost.

    Also False if it is to be committed and was contested, or if one of up to 99 `checks` does not hold.
    """
    condition = PENDING_STILL + (" AND attribute_not_exists(#contested)" if state == COMMITTED else "")
    values = {":state": {"S": state}, ":pending": {"S": PENDING}}
    action = table.update_action(_key(transaction), "SET #state = :state", values, condition=condition)
    try:
        table.write([action, *checks])
    except ConditionFailed:
        return state_now(table, transaction)[0] == state
    return True


def take_over(table: Table, transaction: str) -> Item:
    """The action that takes over a transaction that is not decided."""
    values = {":state": {"S": TAKEN_OVER}, ":pending": {"S": PENDING}}
    return table.update_action(_key(transaction), "SET #state = :state", values, condition=PENDING_STILL)


def lineage(table: Table, transaction: str) -> tuple[str, Lineage | None]:
    """The state of a transaction, and its lineage if it has one. ABORTED where it is gone."""
    item = table.get(_key(transaction))
    if item is None:
        return ABORTED, None
    known = Lineage(item["seed"]["S"], tuple(one["S"] for one in item["former"]["L"])) if "seed" in item else None
    return item["state"]["S"], known


def contest(table: Table, transaction: str) -> None:
    """Prevents the commit of a transaction that is not decided yet. No effect on a decided one."""
    values = {":pending": {"S": PENDING}, ":true": {"BOOL": True}}
    table.write_each(
        [table.update_action(_key(transaction), "SET #contested = :true", values, condition=PENDING_STILL)]
    )


def undecided(table: Table, transaction: str) -> Item:
    """The check that a transaction is not decided."""
    return table.check_action(_key(transaction), PENDING_STILL, {":pending": {"S": PENDING}})


def _key(transaction: str) -> Key:
    return keys.transaction_key(transaction), keys.HEAD


def states(table: Table, transactions: Iterable[str]) -> dict[str, str]:
    """The state of each transaction, read once in this request. A transaction that is gone was never committed: ABORTED."""
    view = _view.get()
    known = view.states if view else {}
    missing = [transaction for transaction in set(transactions) if transaction not in known]
    if missing:
        items = table.get_many((keys.transaction_key(transaction), keys.HEAD) for transaction in missing)
        for transaction in missing:
            item = items.get((keys.transaction_key(transaction), keys.HEAD))
            known[transaction] = item["state"]["S"] if item else ABORTED
    return known


def state_now(table: Table, transaction: str) -> tuple[str, bool]:
    """The state at this moment, and whether a PENDING transaction has outlived its lease."""
    item = table.get((keys.transaction_key(transaction), keys.HEAD))
    if item is None:
        return ABORTED, False
    return item["state"]["S"], float(item["expires"]["N"]) < time.time()


def is_forgotten(table: Table, transaction: str) -> bool:
    """Whether a transaction is committed and outlived its lease unfinished, and has few enough members (4,000) for one request to finish it."""
    item = table.get(_key(transaction))
    if item is None or item["state"]["S"] != COMMITTED:
        return False
    return float(item["expires"]["N"]) < time.time() and int(item["pages"]["N"]) <= 1


def close(table: Table, transaction: str) -> None:
    """Called when no head has the mark any more: the item leaves the list of open transactions, and expires after a day.

    It stays that long for readers who saw the mark before it was removed.
    """
    ttl = {":ttl": {"N": str(int(time.time()) + _DAY)}}
    expression = "SET #ttl = :ttl REMOVE #mpk, #msk"
    table.write_each([table.update_action(_key(transaction), expression, ttl, condition="attribute_exists(#pk)")])


def forget_members(table: Table, transaction: str) -> None:
    """Removes the list of a transaction's members. Idempotent."""
    pk = keys.transaction_key(transaction)
    pages = [item["sk"]["S"] for item in table.query(pk, keys.MEMBERS, keys.MEMBERS)]
    table.put_many([], [(pk, page) for page in pages])


def open_transactions(table: Table) -> Iterator[tuple[str, str]]:
    """When each transaction began that is not closed yet, and its id; the oldest first. Read as they are taken."""
    index = (keys.BY_TIME, keys.INDEXES[keys.BY_TIME])
    for item in table.query(keys.OPEN_TRANSACTIONS, index=index):
        yield keys.open_transaction(item["msk"]["S"])


def held(table: Table) -> set[str]:
    """The resources that open transactions hold or make. One that has taken over others has their heads under its mark, or theirs."""
    found: set[str] = set()
    for _, transaction in open_transactions(table):
        _, known = lineage(table, transaction)
        for each in (transaction, *(known.former if known else ())):
            found.update(member.removeprefix(FRESH) for member in members(table, each)[0])
    return found


def abort_expired(table: Table, transaction: str) -> bool:
    """Abort a transaction that outlived its lease before it was decided. Whether it is aborted or taken over: nothing of it will be seen."""
    state, expired = state_now(table, transaction)
    if state == PENDING and expired:
        decide(table, transaction, ABORTED)
        state, _ = state_now(table, transaction)
    return state in (ABORTED, TAKEN_OVER)


def renew(table: Table, transaction: str, lease: float) -> None:
    """The lease of a PENDING transaction ends `lease` seconds from now. ConditionFailed where it is decided."""
    values = {":expires": {"N": str(time.time() + lease)}, ":pending": {"S": PENDING}}
    table.write([table.update_action(_key(transaction), "SET #expires = :expires", values, condition=PENDING_STILL)])


@contextmanager
def renewed(table: Table, transaction: str, lease: float) -> Iterator[None]:
    """Within this context the lease of a transaction ends `lease` seconds from now, whenever now is: a throttled table is slow.

    A process that dies renews nothing, and its transaction may be aborted by others as soon as the lease is over.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(lease / 3):
            with suppress(ConditionFailed, Unavailable, BotoCoreError, ClientError):
                renew(table, transaction, lease)

    if lease > 0:
        threading.Thread(target=keep, name="lease", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
