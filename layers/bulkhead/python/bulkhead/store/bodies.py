"""Contents that are too large for the table: each is an object in the bucket, and a pointer in its resource's partition leads to it.

put      First the pointers, then the objects. An object has a name of its own that no other attempt to write uses, also not one that sends
         the same again: so it is written once, and what becomes of it concerns one attempt alone.
commit   A version that has a name which its base does not have is committed only while the pointer stands. A small commit checks that in the
         request that writes the heads. A large transaction checks it once its marks are set, and before it is decided.
collect  The integrity check takes away what no version has. It condemns the pointer in one request with a check that the head is as it
         was read, and has no mark. Afterwards it removes the object, and last the pointer: whoever dies in between leaves what leads there.

So a version never loses its content, however long its writer slept: either its commit came first, and then the head is another, or has a
mark, and nothing is condemned; or the pointer was condemned first, and then the commit fails. How old a pointer has to be is no matter of
safety. It keeps writers at work from failing.

A table that was restored from a backup has pointers of another table, which may still serve with the same bucket: those are never
condemned (`by`). `$purge` (`erasure`) follows pointers of any table and age.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from botocore.exceptions import ClientError

from bulkhead.errors import Conflict
from bulkhead.parallel import chunks
from bulkhead.store import content, files, heads, keys, transaction_marks
from bulkhead.store.heads import Write
from bulkhead.store.keys import Key
from bulkhead.store.table import TRANSACT_LIMIT, ConditionFailed, Item, Table, item_key, key_of

OVERHEAD = 1000
"""A generous bound on the bytes of a head's item without its body."""
# What a resource needs beside its body for each other that it names and that passes accounts on to it: about.
_GIVER = 100
# One that was adopted may be there again after it was condemned: no commit relies on it.
_STANDS = "attribute_exists(#pk) AND attribute_not_exists(#condemned) AND attribute_not_exists(#adopted)"

logger = logging.getLogger(__name__)


class Collected(NamedTuple):
    """What became of the pointers of a resource to bodies that no version has."""

    taken: int
    """Those that were taken away with their bodies, or would be."""
    left: int
    """Those whose writers may be at work."""


class Bodies:
    """The large bodies of one table, below `prefix` in its bucket. `client` returns the S3 client: most requests need none."""

    def __init__(self, table: Table, client: Callable[[], Any], *, bucket: str, prefix: str) -> None:
        self._table, self._client, self._bucket, self._prefix = table, client, bucket, prefix

    # Writing

    def offload(self, writes: Sequence[Write], limit: int) -> None:
        """Moves bodies above `limit` bytes to S3, several at once, so that no item exceeds DynamoDB's limit. No request where there are none.

        The body of a resource that names many others leaves room for what it may inherit from them.
        """
        moved = [(write, write.body, uuid4().hex) for write in writes if write.body and _is_above(write, limit)]
        self._table.put_many([self._pointer(write.key, name) for write, _, name in moved])
        self._table.parallel(self._put, moved)

    def _put(self, moved: tuple[Write, bytes, str]) -> None:
        write, body, name = moved
        self._client().put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body)
        write.body = heads.IN_S3 + name.encode()

    def checks(self, writes: Iterable[Write]) -> list[Item]:
        """The checks, for the commit of `writes`, that the pointers to their new bodies stand."""
        return [self._table.check_action(at, _STANDS) for at in added(writes)]

    def require_standing(self, transaction: str, writes: Iterable[Write]) -> None:
        """Conflict where a pointer to a new body was condemned, though the marks of a large transaction stand. No request without such bodies.

        While the marks stand, none is condemned any more.
        """
        mark = {":txn": {"S": transaction}}
        for batch in chunks(added(writes), TRANSACT_LIMIT // 2):
            actions = [self._table.check_action(at, _STANDS) for at in batch]
            actions += [
                self._table.check_action((key, keys.HEAD), transaction_marks.MARKED, mark)
                for key in dict.fromkeys(key for key, _ in batch)
            ]
            try:
                self._table.write(actions)
            except ConditionFailed:
                raise too_late() from None

    def take_back(self, writes: Iterable[Write]) -> None:
        """Remove those new bodies of `writes`, which have failed, whose pointers are condemned or gone: no commit ever has them.

        A writer that slept may have put them after they were looked for.
        """
        left = added(writes)
        there = self._table.get_many(left)
        for at in left:
            if "condemned" in there.get(at, {"condemned": {}}):
                self.erase(keys.body_name(at[1]))

    def _pointer(self, key: str, name: str) -> Item:
        facts: Item = {"at": {"N": str(time.time())}, "by": {"S": self._table.name}}
        return key_of((key, keys.body_sort(name))) | facts

    # Taking away

    def erase(self, name: str) -> None:
        """Remove an object with all versions that the bucket keeps of it. No effect where there is none."""
        place = {"Bucket": self._bucket, "Key": self._prefix + name}
        listed = self._client().list_object_versions(Bucket=self._bucket, Prefix=place["Key"])
        for version in (*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())):
            if version["Key"] != place["Key"]:
                continue
            try:
                self._client().delete_object(**place, VersionId=version["VersionId"])
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "NoSuchVersion":
                    raise

    def collect(self, key: str, *, before: float, repair: bool) -> Collected:
        """Take away the bodies of a resource that no version has, and whose pointers are not later than `before` (seconds since 1970).

        Nothing is changed unless `repair`, nor while a large transaction holds the resource, or it was purged.
        """
        # In this order: what the head had when it was read has a version by the time at which those are read, should it be superseded.
        head = self._table.get((key, keys.HEAD))
        if head and (transaction_marks.marked(head) or heads.GRAVESTONE in head):
            return Collected(0, 0)
        pointers = list(self._table.query(key, keys.BODY, keys.BODY))
        versions = self._table.query(key, keys.VERSION, keys.VERSION)
        needed = {name_of(item) for item in (*([head] if head else []), *versions)}
        taken = left = 0
        for pointer in pointers:
            if name_of(pointer) in needed:
                continue
            if "condemned" not in pointer and not self._is_condemned(head, pointer, before=before, repair=repair):
                left += 1
                continue
            taken += 1
            if repair:
                self.erase(keys.body_name(pointer["sk"]["S"]))
                self._table.put_many([], [item_key(pointer)])
        return Collected(taken, left)

    def _is_condemned(self, head: Item | None, pointer: Item, *, before: float, repair: bool) -> bool:
        """Whether a pointer was condemned now (or would be, without `repair`): no commit that needs it can succeed any more."""
        if pointer["by"]["S"] != self._table.name or float(pointer["at"]["N"]) > before:
            return False
        if not repair:
            return True
        at = pointer["pk"]["S"], keys.HEAD
        condemned = self._table.update_action(
            item_key(pointer),
            "SET #condemned = :now",
            {":now": {"N": str(time.time())}},
            condition="attribute_exists(#pk)",
        )
        unchanged = (
            self._table.check_action(at, "#v = :v AND attribute_not_exists(#txn)", {":v": head["v"]})
            if head
            else self._table.check_action(at, "attribute_not_exists(#pk)")
        )
        try:
            self._table.write([condemned, unchanged])
        except ConditionFailed:
            return False
        return True

    # What older code wrote

    def adopt(self, after: str | None, time_left: Callable[[], bool]) -> tuple[int, str | None]:
        """Give every object in the bucket a pointer of this table, as the present code does. It reads each of them once.

        From the object `after` on (None: the first), while there is time: a page of up to 1,000 at least. Returns how many had none, and
        where to go on, None at the end. Only for a bucket that no other table uses, and while no code is at work that writes no pointers:
        what no version of this table has is collected afterwards.
        """
        adopted = 0
        while True:
            place = {"Bucket": self._bucket, "Prefix": self._prefix} | ({"KeyMarker": after} if after else {})
            page = self._client().list_object_versions(**place)
            names = dict.fromkeys(one["Key"].removeprefix(self._prefix) for one in page.get("Versions", ()))
            owners = self._table.parallel(self._owner, list(names))
            adopting: Item = {"adopted": {"BOOL": True}}
            pointers = [self._pointer(key, name) | adopting for key, name in zip(owners, names, strict=True) if key]
            there = self._table.get_many(map(item_key, pointers))
            missing = [item for item in pointers if there.get(item_key(item), {}).get("by") != item["by"]]
            adopted += len(missing)
            self._table.put_many(missing)
            after = page.get("NextKeyMarker") if page["IsTruncated"] else None
            if after is None or not time_left():
                return adopted, after

    def _owner(self, name: str) -> str | None:
        """Whose content an object is: it says so itself. None where it was removed meanwhile, or cannot be read."""
        try:
            data = self._client().get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
        except ClientError as error:
            if not files.is_absence(error):
                raise
            return None
        try:
            resource = content.read(data).decode()
            return f"{resource['resourceType']}/{resource['id']}"
        except Exception as error:
            logger.error("object is no body", extra={"name_in_s3": name, "error": type(error).__name__})
            return None


def _is_above(write: Write, limit: int) -> bool:
    assert write.body is not None
    givers = len(write.new.named) if write.new else 0
    room = min(limit, heads.ITEM_BYTES - OVERHEAD - _GIVER * givers)
    return len(write.body) > room and write.body[:1] != heads.IN_S3


def added(writes: Iterable[Write]) -> list[Key]:
    """The pointers to bodies that writes have and their bases do not: a base's is a version's already."""
    named = [(write, name) for write in writes if (name := heads.name_in_s3(write.body))]
    return [
        (write.key, keys.body_sort(name))
        for write, name in named
        if write.base is None or heads.name_in_s3(write.base.body) != name
    ]


def name_of(item: Item) -> str | None:
    """The name of the object to which a pointer leads, or that holds the content of a version. None of other items."""
    if is_pointer(item):
        return keys.body_name(item["sk"]["S"])
    return heads.name_in_s3(item.get("body", {}).get("B"))


def is_pointer(item: Item) -> bool:
    """Whether an item is a pointer to a large body."""
    return item_key(item)[1].startswith(keys.BODY)


def have_unneeded(items: Iterable[Item]) -> bool:
    """Whether a pointer among the items of a resource leads to a body that no version among them has."""
    listed = list(items)
    pointed_at = {name_of(item) for item in listed if is_pointer(item)}
    return bool(pointed_at) and not pointed_at.issubset(name_of(item) for item in listed if not is_pointer(item))


def too_late() -> Conflict:
    """The error for a commit whose new body was condemned before: its writer took longer than any does."""
    return Conflict("the write took so long that its content was taken away: send it again")
