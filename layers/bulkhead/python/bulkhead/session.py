"""The session of one request, or of one entry of a bundle: store, caller, settings, and the log of what it showed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bulkhead.access import policy
from bulkhead.errors import Unauthorized

if TYPE_CHECKING:
    from bulkhead.access.policy import Caller
    from bulkhead.compartments.membership import Definitions
    from bulkhead.settings import Settings
    from bulkhead.store import Head, Store


@dataclass(frozen=True, slots=True)
class Shown:
    """A version that an operation showed to the caller."""

    operation: str
    head: Head


class Session:
    """One per request, or per entry of a bundle. `shown` is its read log, which is recorded before the response leaves."""

    def __init__(
        self,
        *,
        connect: Callable[[], Store],
        identify: Callable[[], Caller],
        settings: Settings,
        base: str,
        extended: bool,
        address: str = "",
    ) -> None:
        """`identify` names the caller, or raises Unauthorized; `base` is the server's URL without a slash at its end.

        `extended`: whether `meta.accounts` and `meta.compartment` are shown.
        """
        self._committed: set[tuple[str, int]] = set()
        self._connect, self._identify = connect, identify
        self.settings, self.base, self.extended, self.address = settings, base, extended, address
        self.shown: list[Shown] = []

    @classmethod
    def of(cls, store: Store, caller: Caller) -> Session:
        """The session of a known caller, outside of a request: for jobs, commands and tests."""
        return cls(connect=lambda: store, identify=lambda: caller, settings=store.settings, base="", extended=False)

    @cached_property
    def store(self) -> Store:
        """The store, connected on first use."""
        return self._connect()

    @cached_property
    def caller(self) -> Caller:
        """The sender of the request. Unauthorized without a token where one is needed."""
        return self._identify()

    @property
    def definitions(self) -> Definitions:
        """The CompartmentDefinitions in force."""
        from bulkhead.compartments import membership

        return membership.in_force(self.store)

    def note_committed(self, heads: Iterable[Head]) -> None:
        """Remembers that this request made these versions with their content: the commit has recorded them where AUDIT says so."""
        self._committed.update((head.key, head.version) for head in heads)

    def has_committed(self, head: Head) -> bool:
        """Whether this request, or another entry of its bundle, made the version with its content."""
        return (head.key, head.version) in self._committed

    def of_entry(self) -> Session:
        """The session of one entry of this request's bundle: the same caller, store and commits, a read log of its own."""
        entry = Session(
            connect=lambda: self.store,
            identify=lambda: self.caller,
            settings=self.settings,
            base=self.base,
            extended=self.extended,
            address=self.address,
        )
        entry._committed = self._committed
        return entry


def of_claims(claims: Mapping[str, str] | None, auth: str, address: str) -> Caller:
    """The caller with the verified `claims`. Unauthorized."""
    return replace(policy.caller_of(claims, auth), address=address)


def unauthorized(reason: str) -> Callable[[], Caller]:
    """A function that identifies nobody: it raises Unauthorized for this reason."""

    def refuse() -> Caller:
        raise Unauthorized(reason, "Authorization")

    return refuse
