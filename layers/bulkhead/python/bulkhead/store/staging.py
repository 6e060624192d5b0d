"""The steps around a commit: index entries and copies of versions before it, removal of stale entries after it, and its own actions.

An entry is a hint, its head the truth. So entries may be early or stale, but never missing:
- staging adds to an entry's `via` and raises its version, and never lowers either;
- settling removes from an entry only if no later version has staged it anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from bulkhead.errors import ClaimTaken, Unavailable, VersionConflict
from bulkhead.facts.security_context import SECURITY_CONTEXT
from bulkhead.parallel import chunks
from bulkhead.settings import SHARED_TYPES
from bulkhead.store import builtin, head_counts, heads, keys
from bulkhead.store.heads import Claim, Head, Write
from bulkhead.store.keys import Entry, Key
from bulkhead.store.table import TRANSACT_LIMIT, ConditionFailed, Item, Table, key_of

if TYPE_CHECKING:
    from bulkhead.facts.index_facts import Facts

NEW = "attribute_not_exists(#pk)"
CURRENT = "#v = :base AND attribute_not_exists(#txn)"
"""That a head has a version and no mark. A writer who keeps what it read of the head needs `unchanged`."""
NOT_LATER = "#v <= :v"

logger = logging.getLogger(__name__)


class Fresh(Protocol):
    """The fresh ids of a large transaction: `takeover.FreshIds`."""

    def stage(self, others: Sequence[Item], entries: Sequence[tuple[Write, Key, Entry]]) -> None:
        """Puts index entries under fresh ids, and `others`, which only this transaction writes."""


def stage(table: Table, writes: Sequence[Write], ids: Fresh | None = None) -> None:
    """Writes new index entries, and copies of the versions that will be superseded. `ids`: the fresh ids of a large transaction."""
    copies = [heads.to_item(write.base, keys.version_sort(write.base.version)) for write in writes if write.base]
    unshared: list[tuple[Write, Key, Entry]] = []
    shared: list[tuple[Write, Item]] = []
    for write in writes:
        entries = added(write)
        if write.fresh:
            unshared += [(write, key, entry) for key, entry in entries.items()]
        else:
            shared += [(write, stage_action(table, write, key, entry=entry)) for key, entry in entries.items()]
    others = [*copies, *(item for write in writes for item in _former(write))]
    if ids:
        ids.stage(others, unshared)
    else:
        table.put_many([*others, *(entry_item(*given) for given in unshared)])
    for batch in chunks(shared, TRANSACT_LIMIT):
        try:
            table.write([action for _, action in batch])
        except ConditionFailed as error:
            raise VersionConflict(batch[error.failed[0]][0].key) from None


def _former(write: Write) -> list[Item]:
    """Pointers back to the Patients that a resource points at no longer, and to what a Binary followed.

    The versions from before are still about them: a purge has to find these (`erasure`).
    """
    if write.base is None or write.old is None:
        return []
    kept = write.new.named if write.new else frozenset()
    return [former_item(write.key, target) for target in remembered(write.old) if target not in kept]


def remembered(facts: Facts) -> list[str]:
    """Those of a resource's targets that are pointed back to when it points at them no longer."""
    followed = [target for target, via in facts.targets.items() if SECURITY_CONTEXT in via]
    return sorted({*followed, *(target for target in facts.named if target.startswith("Patient/"))})


def former_item(key: str, target: str) -> Item:
    """The item that says that a resource pointed at `target` once."""
    pointer = {"tpk": {"S": keys.former_partition(target)}, "tsk": {"S": keys.source_sort(key)}}
    return key_of((key, keys.former_sort(target))) | pointer


def added(write: Write) -> dict[Key, Entry]:
    """Entries that the new version has and the old one lacks, or has for fewer parameters."""
    old = keys.index_entries(write.key, None if builtin.is_unwritten(write.base) else write.old)
    new = keys.index_entries(write.key, write.new)
    return {key: entry for key, entry in new.items() if key not in old or entry[1] - old[key][1]}


def entry_item(write: Write, key: Key, entry: Entry) -> Item:
    """An entry for the new version of `write`, under a fresh id."""
    attributes, via = entry
    item: Item = {**key_of(key), "v": {"N": str(write.version)}}
    item |= {name: {"S": value} for name, value in attributes.items()}
    if via:
        item["via"] = {"SS": sorted(via)}
    return item


def stage_action(table: Table, write: Write, key: Key, *, entry: Entry) -> Item:
    """The action that stages an entry for the new version of `write`."""
    return entry_action(table, key, entry, version=write.version)


def entry_action(table: Table, key: Key, entry: Entry, *, version: int) -> Item:
    """The action that adds an entry, or widens it: `via` becomes the union, and its version never falls.

    It removes a note that the entry's version has not come (`integrity`).
    """
    attributes, via = entry
    values: Item = {":v": {"N": str(version)}, **{f":{name}": {"S": value} for name, value in attributes.items()}}
    expression = "SET #v = :v" + "".join(f", #{name} = :{name}" for name in attributes) + " REMOVE #noted"
    if via:
        expression += " ADD #via :via"
        values[":via"] = {"SS": sorted(via)}
    return table.update_action(key, expression, values, condition=f"attribute_not_exists(#v) OR {NOT_LATER}")


def listed_accounts(head: Head | None) -> tuple[str, ...]:
    """The accounts under which a version is listed; of a type that can be shared, NO_ACCOUNT where it carries none."""
    if head is None or head.deleted:
        return ()
    if head.open and head.type in SHARED_TYPES:
        return (keys.NO_ACCOUNT,)
    return head.accounts


def account_actions(table: Table, write: Write) -> list[Item]:
    """Actions that stage the entries of the accounts that the new version adds."""
    return [stage_action(table, write, key, entry=entry) for key, entry in gained_accounts(write)]


def gained_accounts(write: Write) -> list[tuple[Key, Entry]]:
    """The entries of the accounts that the new version adds."""
    if write.body is None:
        return []
    had = set(() if builtin.is_unwritten(write.base) else listed_accounts(write.base))
    gained = [account for account in listed_accounts(write.head("")) if account not in had]
    return [keys.account_entry(write.key, account) for account in gained]


def unchanged(base: Head, condition: str = CURRENT) -> tuple[str, Item]:
    """The condition that a head is as it was read, with its values: also in what a target passes on, which changes without a new version."""
    values: Item = {":base": {"N": str(base.version)}}
    if not base.flagged:
        return f"{condition} AND attribute_not_exists(#flagged)", values
    return f"{condition} AND #flagged = :flagged", values | {":flagged": {"S": base.flagged}}


def head_action(table: Table, write: Write, head: Head) -> Item:
    """The action that writes the head which `write` makes."""
    base = None if builtin.is_unwritten(write.base) else write.base
    if base and not write.changes_content:
        return accounts_action(table, base, head)
    item = heads.to_item(head) | head_counts.of_write(write)
    return table.put_action(item, *unchanged(base)) if base else table.put_action(item, NEW)


def accounts_action(table: Table, base: Head, head: Head) -> Item:
    """The update of a head whose content stays, as does what it says for counts. The body goes along only where it has moved to S3."""
    stays = head.body == base.body
    changed = {name: value for name, value in heads.attributes(head).items() if name != "body" or not stays}
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in changed)
    if gone := [name for name in heads.ACCOUNT_ATTRIBUTES if name not in changed]:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    condition, expected = unchanged(base)
    values = {f":{name}": value for name, value in changed.items()} | expected
    return table.update_action((head.key, keys.HEAD), expression, values, condition=condition)


def claim_action(table: Table, claim: Claim, mark: Item | None = None) -> Item:
    item: Item = {"pk": {"S": keys.claim_key(claim.condition)}, "sk": {"S": keys.HEAD}, "owner": {"S": claim.owner}}
    item |= mark or {}
    if claim.stale is None:
        return table.put_action(item, NEW)
    return table.put_action(item, "#owner = :stale AND attribute_not_exists(#txn)", {":stale": {"S": claim.stale}})


def claim_pointers(claims: Sequence[Claim]) -> list[Item]:
    """Items beside the owners of `claims` that name these: who purges a resource finds the claims that it made."""
    return [claim_pointer(claim.owner, claim.condition) for claim in claims]


def claim_pointer(owner: str, condition: str) -> Item:
    return key_of((owner, keys.claim_sort(condition))) | {"claim": {"S": keys.claim_key(condition)}}


def blocked(conflict: VersionConflict | ClaimTaken) -> str:
    """The partition key of the item whose condition failed."""
    return conflict.key if isinstance(conflict, VersionConflict) else keys.claim_key(conflict.condition)


def afterwards(step: Callable[[], object], **context: object) -> None:
    """Calls a step that follows a commit. Its failure does not fail the request: the commit is done, and the sweeper finishes the rest."""
    try:
        step()
    except (BotoCoreError, ClientError, Unavailable) as error:
        logger.warning("left to the sweeper", extra={"error": type(error).__name__, **context})


def drop(table: Table, writes: Sequence[Write]) -> None:
    """Removes what was staged for new resources that were not made, under ids that no other attempt uses."""
    staged = [key for write in writes for key in added(write)]
    staged += [
        keys.account_entry(write.key, account)[0] for write in writes for account in listed_accounts(write.head(""))
    ]
    table.put_many([], staged)


def settle(table: Table, writes: Sequence[Write]) -> None:
    """Removes entries that the new versions do not need. A failed condition means that a later version has staged the entry anew."""
    table.write_each(settling(table, writes))


def settling(table: Table, writes: Sequence[Write]) -> list[Item]:
    """The actions of `settle`, each independent of the others."""
    actions: list[Item] = []
    for write in writes:
        if write.base is None or write.base.deleted:
            continue
        version = {":v": {"N": str(write.version)}}
        old, new = keys.index_entries(write.key, write.old), keys.index_entries(write.key, write.new)
        for key, (_, via) in old.items():
            if key not in new:
                actions.append(table.delete_action(key, NOT_LATER, version))
            elif gone := via - new[key][1]:
                values = version | {":gone": {"SS": sorted(gone)}}
                actions.append(table.update_action(key, "DELETE #via :gone", values, condition=NOT_LATER))
        kept = set(listed_accounts(write.head("")))
        for account in (*listed_accounts(write.base), *write.base.ended):
            if account not in kept:
                actions.append(table.delete_action(keys.account_entry(write.key, account)[0], NOT_LATER, version))
    return actions
