"""Several writers at once, each of which makes its next call to DynamoDB (and S3) when the test says so: any interleaving, as often as wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from bulkhead.settings import Settings
from bulkhead.store import Store

_SECONDS = 30
_READS = {
    "get_item",
    "batch_get_item",
    "transact_get_items",
    "query",
    "scan",
    "get_object",
    "list_object_versions",
}


class Writer:
    """A piece of work in a thread of its own. It stands before its first call to DynamoDB, until `step`.

    `wrote` tells whether its last call may have changed the table. With `objects` it stands before its calls to S3 as well.
    """

    def __init__(
        self, store: Store, work: Callable[[Store], Any], name: str = "writer", *, objects: bool = False
    ) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.wrote = False
        self._next = ""
        self._turn = threading.Condition()
        self._allowed = self._waiting = self._over = False
        self._killed: BaseException | None = None
        settings = {name: getattr(store.settings, name) for name in Settings.__slots__} | {"threads": 1}
        s3 = _Gate(store.s3, self._wait) if objects else store.s3
        self._store = Store(_Gate(store.table.client, self._wait), s3, Settings(**settings))  # type: ignore[arg-type] # a gate before a client
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()
        self._settle()

    def step(self) -> bool:
        """Let it make its next call, and go on to the one after. False where it has come to its end."""
        if self._over:
            return False
        with self._turn:
            self.wrote = self._next not in _READS
            self._allowed = True
            self._turn.notify_all()
        self._settle()
        return True

    @property
    def stands_before(self) -> str:
        """The call that it makes next."""
        return self._next

    def finish(self) -> None:
        """Let it go on to its end."""
        while self.step():
            pass

    def kill(self, error: BaseException) -> None:
        """Let it die before its next call."""
        self._killed = error
        self.finish()

    def _settle(self) -> None:
        """Wait until it stands before a call, or is over."""
        with self._turn:
            if not self._turn.wait_for(lambda: self._over or (self._waiting and not self._allowed), _SECONDS):
                raise TimeoutError("a writer neither calls DynamoDB nor ends")

    def _wait(self, call: str) -> None:
        with self._turn:
            self._next = call
            self._waiting = True
            self._turn.notify_all()
            if not self._turn.wait_for(lambda: self._allowed, _SECONDS):
                raise TimeoutError("nobody lets this writer go on")
            self._allowed = self._waiting = False
        if self._killed:
            raise self._killed

    def _run(self, work: Callable[[Store], Any]) -> None:
        try:
            self.result = work(self._store)
        except BaseException as error:
            self.error = error
        with self._turn:
            self._over = True
            self._turn.notify_all()


class _Gate:
    """A client that waits before each call."""

    def __init__(self, client: Any, wait: Callable[[str], None]) -> None:
        self._client, self._wait = client, wait
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def waiting(**arguments: Any) -> Any:
            self._wait(name)
            return call(**arguments)

        return waiting


def run(writers: list[Writer], schedule: Iterable[int], after_each: Callable[[], None] = lambda: None) -> None:
    """Step the writers in the order of `schedule` (their positions), then finish those that are left, one after the other.

    `after_each` is called after each call that may have changed the table: after one that reads, all is as it was.
    """
    for writer in (writers[number] for number in schedule):
        if writer.step() and writer.wrote:
            after_each()
    for writer in writers:
        while writer.step():
            if writer.wrote:
                after_each()
