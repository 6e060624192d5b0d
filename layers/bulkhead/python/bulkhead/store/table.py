"""DynamoDB as the store uses it: the low-level client's operations, batched to its limits, in parallel, with retries where stated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from bulkhead.errors import Unavailable
from bulkhead.parallel import chunks, in_context
from bulkhead.store.keys import Key
from bulkhead.store.throttling import CODES, Patience, pause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Item = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")

GET_LIMIT = 100
PUT_LIMIT = 25
TRANSACT_LIMIT = 100
# DynamoDB accepts 4 MB; the rest is for keys and attribute names.
TRANSACT_BYTES = 3_500_000
_ATTEMPTS = 8
# Seconds, for a process without a setting of its own: below API Gateway's 30.
_PATIENCE = 20.0
_NAME = re.compile(r"#\w+")


class ConditionFailed(Exception):
    """The condition of a write did not hold. `failed` are the positions in a transaction."""

    def __init__(self, failed: Sequence[int] = (0,)) -> None:
        super().__init__(f"condition failed at {list(failed)}")
        self.failed = tuple(failed)


def even_chunks(items: Sequence[T], limit: int) -> list[Sequence[T]]:
    """As few chunks as `limit` allows, of nearly equal size: in parallel, equal chunks take the least time."""
    number = -(-len(items) // limit)
    bounds = [len(items) * n // number for n in range(number + 1)] if number else []
    return [items[start:end] for start, end in pairwise(bounds)]


def pieces(items: Iterable[T], size: Callable[[T], int], number: int, *, room: int) -> Iterator[list[T]]:
    """`items` in lists of at most `number`, whose sizes add up to at most `room`; a single item may exceed it."""
    piece: list[T] = []
    left = room
    for item in items:
        needed = size(item)
        if piece and (len(piece) == number or needed > left):
            yield piece
            piece, left = [], room
        piece.append(item)
        left -= needed
    if piece:
        yield piece


def key_of(key: Key) -> Item:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def item_key(item: Mapping[str, Any]) -> Key:
    """The inverse of `key_of`; `item` may have other attributes too."""
    return item["pk"]["S"], item["sk"]["S"]


def weight(action: Item) -> int:
    """Roughly the bytes of an action, and never fewer."""
    item = action.get("Put", {}).get("Item", {})
    return 1500 + len(item.get("body", {}).get("B", b"")) + sum(_bytes(item[name]) for name in _LONG if name in item)


# Attributes of a head that have no bound, besides its body: they name the targets that it has accounts from.
_LONG = ("inherited", "within", "ends")


def _bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(name) + 4 + _bytes(inner) for name, inner in value.items())
    return sum(map(_bytes, value)) if isinstance(value, list) else len(value)


class Table:
    """One DynamoDB table. Items are in DynamoDB's own JSON (`{"S": "text"}`)."""

    def __init__(
        self,
        client: DynamoDBClient,
        name: str,
        threads: int,
        *,
        transact_bulk: bool = False,
        singly: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self._patience = patience or Patience(_PATIENCE)
        self._threads = threads
        self._transact_bulk, self._singly = transact_bulk, singly

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="dynamodb")

    def parallel(self, call: Callable[[T], R], arguments: Sequence[T]) -> list[R]:
        """The results of `call` for each argument, in parallel. Must not be used within such a call: the pool is bounded."""
        if len(arguments) < 2:
            return [call(argument) for argument in arguments]
        # In the context of the request: until when it may wait for a throttled table.
        return in_context(self._pool, call, arguments)

    def get(self, key: Key) -> Item | None:
        """One item, strongly consistent."""
        answer = self._read(self.client.get_item, {"TableName": self.name, "Key": key_of(key), "ConsistentRead": True})
        item: Item | None = answer.get("Item")
        return item

    def _read(self, call: Callable[..., Any], arguments: Item) -> Any:
        """The answer of a reading call, repeated while the table is throttled. Unavailable when the patience ends."""
        for _ in self._patience.attempts():
            try:
                return call(**arguments)
            except self.client.exceptions.ClientError as error:
                _require_throttled(error)
        raise AssertionError("unreachable")

    def get_many(self, wanted: Iterable[Key]) -> dict[Key, Item]:
        """Items by key, strongly consistent; absent ones are left out. As few requests as possible, of equal size, in parallel."""
        found: dict[Key, Item] = {}
        for items in self.parallel(self._get_batch, even_chunks(list(dict.fromkeys(wanted)), GET_LIMIT)):
            found.update({item_key(item): item for item in items})
        return found

    def _get_batch(self, batch: Sequence[Key]) -> list[Item]:
        items: list[Item] = []
        pending: Any = {self.name: {"Keys": [key_of(key) for key in batch], "ConsistentRead": True}}
        for progress in self._patience.attempts():
            try:
                answer = self.client.batch_get_item(RequestItems=pending)
            except self.client.exceptions.ClientError as error:
                _require_throttled(error)
                continue
            found = answer["Responses"].get(self.name, [])
            items += found
            pending = answer.get("UnprocessedKeys")
            if not pending:
                break
            if found:
                progress()
        return items

    def put_many(self, items: Sequence[Item], deletes: Sequence[Key] = ()) -> None:
        """Unconditional puts and deletes, in parallel. Only for items that no other writer can write with other content.

        BatchWriteItem of 25, or TransactWriteItems of 100 (see the setting BULK_WRITES). Not all or nothing.
        """
        if self._transact_bulk:
            actions = [self.put_action(item) for item in items] + [self.delete_action(key) for key in deletes]
            self.parallel(self.write, list(pieces(actions, weight, TRANSACT_LIMIT, room=TRANSACT_BYTES)))
            return
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in items]
        requests += [{"DeleteRequest": {"Key": key_of(key)}} for key in deletes]
        self.parallel(self._write_batch, list(chunks(requests, PUT_LIMIT)))

    def put_new(self, items: Sequence[Item]) -> set[int]:
        """Puts items where there are none, in parallel; the positions of those that were there, and stay as they are. Not all or nothing.

        As many requests and write units as `put_many`: INSERT is the one conditional write that comes in batches.
        """
        if self._transact_bulk:
            actions = [self.put_action(item, "attribute_not_exists(#pk)") for item in items]
            batches = pieces(range(len(items)), lambda n: weight(actions[n]), TRANSACT_LIMIT, room=TRANSACT_BYTES)
            found = self.parallel(
                lambda batch: {batch[n] for n in self.write_each([actions[n] for n in batch])}, list(batches)
            )
        else:
            found = self.parallel(self._insert_batch, list(chunks(list(enumerate(items)), PUT_LIMIT)))
        return set().union(*found)

    def _insert_batch(self, batch: Sequence[tuple[int, Item]]) -> set[int]:
        pending, there = list(batch), set()
        for progress in self._patience.attempts():
            try:
                answers = self.client.batch_execute_statement(Statements=[self._insert(item) for _, item in pending])
            except self.client.exceptions.ClientError as error:
                _require_throttled(error)
                continue
            codes = [answer.get("Error", {}).get("Code", "") for answer in answers["Responses"]]
            there |= {n for (n, _), code in zip(pending, codes, strict=True) if code == _DUPLICATE}
            if unexpected := set(codes).difference(_AGAIN, {"", _DUPLICATE}):
                raise Unavailable(f"the database refuses an item ({', '.join(sorted(unexpected))})")
            left = [one for one, code in zip(pending, codes, strict=True) if code in _AGAIN]
            if not left:
                break
            if len(left) < len(pending):
                progress()
            pending = left
        return there

    def _insert(self, item: Item) -> Any:
        """The statement of an item; its key comes first."""
        given = key_of(item_key(item)) | item
        names = ", ".join(f"'{name}': ?" for name in given)
        return {"Statement": f'INSERT INTO "{self.name}" VALUE {{{names}}}', "Parameters": list(given.values())}

    def _write_batch(self, batch: Sequence[Any]) -> None:
        pending: Any = {self.name: batch}
        for progress in self._patience.attempts():
            try:
                left: Any = self.client.batch_write_item(RequestItems=pending).get("UnprocessedItems")
            except self.client.exceptions.ClientError as error:
                _require_throttled(error)
                continue
            if not left:
                return
            if len(left[self.name]) < len(pending[self.name]):
                progress()
            pending = left

    def put(self, item: Item, condition: str | None = None, values: Item | None = None) -> None:
        """Puts one item. ConditionFailed if `condition` does not hold."""
        self.write([self.put_action(item, condition, values)])

    # Conditions and expressions write every attribute as `#name`, so that no name clashes with DynamoDB's 570 reserved words.

    def put_action(self, item: Item, condition: str | None = None, values: Item | None = None) -> Item:
        return {"Put": self._action({"Item": item}, condition, values)}

    def delete_action(self, key: Key, condition: str | None = None, values: Item | None = None) -> Item:
        return {"Delete": self._action({"Key": key_of(key)}, condition, values)}

    def update_action(
        self, key: Key, expression: str, values: Item | None = None, *, condition: str | None = None
    ) -> Item:
        return {"Update": self._action({"Key": key_of(key), "UpdateExpression": expression}, condition, values)}

    def check_action(self, key: Key, condition: str, values: Item | None = None) -> Item:
        return {"ConditionCheck": self._action({"Key": key_of(key)}, condition, values)}

    def _action(self, action: Item, condition: str | None, values: Item | None) -> Item:
        action["TableName"] = self.name
        if condition:
            action["ConditionExpression"] = condition
        if values:
            action["ExpressionAttributeValues"] = values
        names = set(_NAME.findall(f"{condition} {action.get('UpdateExpression')}"))
        if names:
            action["ExpressionAttributeNames"] = {name: name[1:] for name in names}
        return action

    def write(self, actions: Sequence[Item]) -> None:
        """Writes up to 100 actions, all or nothing: a plain request for one (half the write units), TransactWriteItems for more.

        ConditionFailed with the positions of the actions whose condition did not hold; then nothing was written.
        """
        if not actions:
            return
        token = str(uuid4())
        attempt = 0
        for progress in self._patience.attempts():
            try:
                self._write_once(actions, token)
                return
            except self.client.exceptions.ConditionalCheckFailedException:
                raise ConditionFailed from None
            except self.client.exceptions.TransactionCanceledException as error:
                reasons = [reason.get("Code") for reason in error.response["CancellationReasons"]]
                failed = [n for n, code in enumerate(reasons) if code == "ConditionalCheckFailed"]
                if failed:
                    raise ConditionFailed(failed) from None
                if not any(code in _RETRIED for code in reasons):
                    raise
                token = str(uuid4())
                if _THROTTLED.intersection(reasons):
                    continue
            except self.client.exceptions.TransactionConflictException:
                pass
            except self.client.exceptions.TransactionInProgressException:
                # An earlier attempt is still running and its answer was lost: under the same token, the next attempt gets its result.
                pass
            except self.client.exceptions.ClientError as error:
                _require_throttled(error)
                continue
            # The store waits less for other writers than for a throttled table: a caller that fails repeatedly gives up.
            attempt += 1
            if attempt == _ATTEMPTS:
                break
            progress()
            pause(attempt)
        raise Unavailable("other requests keep changing the same items: send the request again")

    def _write_once(self, actions: Sequence[Item], token: str) -> None:
        if len(actions) > 1:
            items: Any = list(actions)
            self.client.transact_write_items(TransactItems=items, ClientRequestToken=token)
            return
        ((name, arguments),) = actions[0].items()
        if name == "Put":
            self.client.put_item(**arguments)
        elif name == "Delete":
            self.client.delete_item(**arguments)
        else:
            self.client.update_item(**arguments)

    def write_each(self, actions: Sequence[Item]) -> set[int]:
        """Writes independent conditional actions, up to 100 per request. Returns the positions of those whose condition failed."""
        left_out: set[int] = set()
        for remaining in pieces(range(len(actions)), lambda n: weight(actions[n]), TRANSACT_LIMIT, room=TRANSACT_BYTES):
            while remaining:
                try:
                    self.write([actions[n] for n in remaining])
                    break
                except ConditionFailed as error:
                    failed = {remaining[n] for n in error.failed}
                    left_out |= failed
                    remaining = [n for n in remaining if n not in failed]
        return left_out

    def write_apart(self, actions: Sequence[Item]) -> set[int]:
        """As `write_each`; but with BULK_WRITES=single a plain request for each, in parallel: half the write units of the table's items.

        A plain request has no token. Where its answer is lost, and it is sent again, a condition fails that held: what was written counts
        as left out.
        """
        if not self._singly:
            return self.write_each(actions)

        def is_left_out(action: Item) -> bool:
            try:
                self.write([action])
            except ConditionFailed:
                return True
            return False

        return {n for n, left in enumerate(self.parallel(is_left_out, actions)) if left}

    def scan(self, segment: int, segments: int, after: Item | None) -> tuple[list[Item], Item | None]:
        """A page (1 MB) of one of `segments` segments of the whole table, eventually consistent; and the place where the next one begins."""
        arguments: dict[str, Any] = {"TableName": self.name, "Segment": segment, "TotalSegments": segments}
        if after:
            arguments["ExclusiveStartKey"] = after
        answer = self._read(self.client.scan, arguments)
        return answer["Items"], answer.get("LastEvaluatedKey")

    def query(
        self,
        partition: str,
        first: str | None = None,
        last: str | None = None,
        *,
        index: tuple[str, tuple[str, str]] | None = None,
        after: str | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[Item]:
        """Items of one partition in order of the sort key; reads each page when it is needed.

        `first` and `last` bound the sort key (inclusive; `last` is extended to all that begins with it), `after` excludes all
        up to it (from it downwards, when `backwards`). `index` is a name and its key attributes; the table itself is read strongly consistent.
        """
        partition_name, sort_name = index[1] if index else ("pk", "sk")
        names = {"#p": partition_name}
        values: Item = {":p": {"S": partition}}
        condition = "#p = :p"
        low, high = first, None if last is None else last + "\U0010ffff"
        if after is not None and backwards:
            high = after if high is None else min(high, after)
        elif after is not None:
            low = after if low is None else max(low, after)
        if low is not None and high is not None:
            if low > high:
                return
            condition += " AND #s BETWEEN :a AND :b"
            values |= {":a": {"S": low}, ":b": {"S": high}}
        elif low is not None:
            condition += " AND #s >= :a"
            values[":a"] = {"S": low}
        elif high is not None:
            condition += " AND #s <= :b"
            values[":b"] = {"S": high}
        if low is not None or high is not None:
            names["#s"] = sort_name
        arguments: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not backwards,
        }
        if index:
            arguments["IndexName"] = index[0]
        else:
            arguments["ConsistentRead"] = True
        if limit is not None:
            arguments["Limit"] = limit + (after is not None)
        while True:
            answer = self._read(self.client.query, arguments)
            for item in answer["Items"]:
                if item[sort_name]["S"] != after:
                    yield item
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _require_throttled(error: Any) -> None:
    """Raises `error` again, unless it says that the table is throttled."""
    if error.response["Error"]["Code"] not in CODES:
        raise error


_THROTTLED = {"ThrottlingError", "ProvisionedThroughputExceeded"}
_RETRIED = {"TransactionConflict", *_THROTTLED}
# What BatchExecuteStatement says of a single statement.
_DUPLICATE = "DuplicateItem"
_AGAIN = {"InternalServerError", "RequestLimitExceeded", *_RETRIED}
