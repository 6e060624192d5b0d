"""Indexes that lag behind the table, as DynamoDB's do on AWS and dynoxide's never do: simulated between the store and its client.

Before each write, this module notes what the indexes hold of its items. Until the write is due, queries on an index return the
noted state. Reads of the table itself are not changed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from bulkhead.parallel import chunks
from bulkhead.store import keys
from bulkhead.store.keys import Key
from bulkhead.store.table import GET_LIMIT, Item, key_of

Place = tuple[str, Key]
"""An item in an index: each one lags independently."""
Image = Item | None
"""An index's image of an item; None if it has none."""

_PROJECTED = {index: ("pk", "sk", *pair, *keys.PROJECTED.get(index, ())) for index, pair in keys.INDEXES.items()}
_READ = sorted({name for names in _PROJECTED.values() for name in names})


def _everything(index: str, key: Key) -> bool:
    return True


class LaggingIndexes:
    """A DynamoDB client whose indexes show a write `seconds` later, by `clock`; with None, when `catch_up` is called."""

    def __init__(self, client: Any, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._seconds, self._clock = client, seconds, clock
        # One write or index query at a time, so that the table and the notes here always agree.
        self._lock = threading.RLock()
        self._numbers = count()
        self._hidden: dict[Place, deque[tuple[int, Image]]] = {}
        """Hidden writes: their number, and the image that the index had before."""
        self._partitions: dict[tuple[str, str], set[Key]] = {}
        """The items with hidden writes that a partition shows."""
        self._due: deque[tuple[float, int, Place]] = deque()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def catch_up(self, chosen: Callable[[str, Key], bool] = _everything) -> None:
        """Shows all writes to the `chosen` items: a function of (index, key)."""
        with self._lock:
            for place in [place for place in self._hidden if chosen(*place)]:
                self._show(place, next(self._numbers))

    # Writing

    def put_item(self, **arguments: Any) -> Any:
        return self._write(self._client.put_item, arguments, arguments["TableName"], items=[arguments["Item"]])

    def update_item(self, **arguments: Any) -> Any:
        return self._write(self._client.update_item, arguments, arguments["TableName"], items=[arguments["Key"]])

    def delete_item(self, **arguments: Any) -> Any:
        return self._write(self._client.delete_item, arguments, arguments["TableName"], items=[arguments["Key"]])

    def batch_write_item(self, **arguments: Any) -> Any:
        ((table, requests),) = arguments["RequestItems"].items()
        written = [
            request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]
            for request in requests
        ]
        return self._write(self._client.batch_write_item, arguments, table, items=written)

    def batch_execute_statement(self, **arguments: Any) -> Any:
        statements = [(statement["Statement"], *statement["Parameters"][:2]) for statement in arguments["Statements"]]
        written = [{"pk": pk, "sk": sk} for _, pk, sk in statements]
        table = statements[0][0].split('"')[1]
        return self._write(self._client.batch_execute_statement, arguments, table, items=written)

    def transact_write_items(self, **arguments: Any) -> Any:
        actions = [action for named in arguments["TransactItems"] for action in named.values()]
        written = [action.get("Item") or action["Key"] for action in actions]
        return self._write(self._client.transact_write_items, arguments, actions[0]["TableName"], items=written)

    def _write(self, call: Callable[..., Any], arguments: dict[str, Any], table: str, *, items: Iterable[Item]) -> Any:
        with self._lock:
            self._show_what_is_due()
            before = self._read(table, [(item["pk"]["S"], item["sk"]["S"]) for item in items])
            try:
                answer = call(**arguments)
            except ClientError:
                raise
            except BaseException:
                # The write may have succeeded.
                self._hide(before)
                raise
            self._hide(before)
            return answer

    def _read(self, table: str, wanted: Sequence[Key]) -> dict[Key, Item]:
        """The table's versions of these items, {} for an absent one."""
        names = {f"#{name}": name for name in _READ}
        found: dict[Key, Item] = {key: {} for key in wanted}
        for batch in chunks(list(found), GET_LIMIT):
            pending: Any = {
                table: {
                    "Keys": [key_of(key) for key in batch],
                    "ConsistentRead": True,
                    "ProjectionExpression": ", ".join(names),
                    "ExpressionAttributeNames": names,
                }
            }
            while pending:
                answer = self._client.batch_get_item(RequestItems=pending)
                found |= {(item["pk"]["S"], item["sk"]["S"]): item for item in answer["Responses"].get(table, [])}
                pending = answer.get("UnprocessedKeys")
        return found

    def _hide(self, before: dict[Key, Item]) -> None:
        for key, item in before.items():
            for index, (partition, _) in keys.INDEXES.items():
                place, number = (index, key), next(self._numbers)
                image = {name: item[name] for name in _PROJECTED[index] if name in item} if partition in item else None
                hidden = self._hidden.setdefault(place, deque())
                hidden.append((number, image))
                if len(hidden) == 1:
                    self._put_on(place, image)
                if self._seconds is not None:
                    self._due.append((self._clock() + self._seconds, number, place))

    def _show_what_is_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock():
            _, number, place = self._due.popleft()
            self._show(place, number)

    def _show(self, place: Place, last: int) -> None:
        """Shows the writes of an item up to number `last`."""
        hidden = self._hidden.get(place, deque())
        if hidden:
            self._take_off(place, hidden[0][1])
        while hidden and hidden[0][0] <= last:
            hidden.popleft()
        if hidden:
            self._put_on(place, hidden[0][1])
        else:
            self._hidden.pop(place, None)

    def _put_on(self, place: Place, image: Image) -> None:
        if image:
            self._partitions.setdefault(_partition(place, image), set()).add(place[1])

    def _take_off(self, place: Place, image: Image) -> None:
        if image:
            partition = _partition(place, image)
            self._partitions[partition].discard(place[1])
            if not self._partitions[partition]:
                del self._partitions[partition]

    # Reading

    def query(self, **arguments: Any) -> Any:
        if "IndexName" not in arguments:
            return self._client.query(**arguments)
        with self._lock:
            self._show_what_is_due()
            return self._as_shown(arguments, self._client.query(**arguments))

    def _as_shown(self, arguments: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """The page as the index shows it: within the bounds of the page that was read, cut to the limit."""
        index = arguments["IndexName"]
        partition, low, high = _condition(arguments)
        backwards = not arguments.get("ScanIndexForward", True)
        start, end = arguments.get("ExclusiveStartKey"), answer.get("LastEvaluatedKey")
        bounds = [_position(index, key) if key else None for key in (start, end)]
        below, last = bounds[::-1] if backwards else bounds

        def on_page(image: Item) -> bool:
            at = _position(index, image)
            if not low <= at[0] <= high:
                return False
            if backwards:
                return (last is None or at < last) and (below is None or at >= below)
            return (below is None or at > below) and (last is None or at <= last)

        items = [item for item in answer["Items"] if (index, (item["pk"]["S"], item["sk"]["S"])) not in self._hidden]
        hidden = (self._hidden[index, key][0][1] for key in self._partitions.get((index, partition), ()))
        items += [image for image in hidden if image and on_page(image)]
        items.sort(key=lambda item: _position(index, item), reverse=backwards)
        shown = {name: value for name, value in answer.items() if name != "LastEvaluatedKey"}
        limit = arguments.get("Limit", len(items))
        if len(items) > limit:
            items = items[:limit]
            names = ("pk", "sk", *keys.INDEXES[index])
            end = {name: items[-1][name] for name in names}
        return shown | {"Items": items, "Count": len(items)} | ({"LastEvaluatedKey": end} if end else {})


def _partition(place: Place, image: Item) -> tuple[str, str]:
    """The partition of an index that holds an image."""
    return place[0], image[keys.INDEXES[place[0]][0]]["S"]


def _position(index: str, item: Item) -> tuple[str, str, str]:
    """The position of an item in its partition: dynoxide orders items with the same sort key by the key in the table."""
    return item[keys.INDEXES[index][1]]["S"], item["pk"]["S"], item["sk"]["S"]


def _condition(arguments: dict[str, Any]) -> tuple[str, str, str]:
    """Partition, and bounds of the sort key, of a condition in the form that `Table.query` writes."""
    values = {name: value["S"] for name, value in arguments["ExpressionAttributeValues"].items()}
    expression = arguments["KeyConditionExpression"]
    low = values[":a"] if ":a" in expression else ""
    high = values[":b"] if ":b" in expression else "\U0010ffff"
    return values[":p"], low, high
