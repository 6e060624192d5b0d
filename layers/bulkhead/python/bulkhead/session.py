"""What one request, or one entry of a bundle, is answered with: the store, the caller, the settings, and what was shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """One per request, or per entry of a bundle. `shown` is its read log: it is recorded before the answer leaves."""

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
        self._connect, self._identify = connect, identify
        self.settings, self.base, self.extended, self.address = settings, base, extended, address
        self.shown: list[Shown] = []

    @classmethod
    def of(cls, store: Store, caller: Caller) -> Session:
        """The session of a caller who is known already, outside of a request: for jobs, commands and tests."""
        return cls(connect=lambda: store, identify=lambda: caller, settings=store.settings, base="", extended=False)

    @cached_property
    def store(self) -> Store:
        """The store, connected when it is first needed."""
        return self._connect()

    @cached_property
    def caller(self) -> Caller:
        """Who sent the request. Unauthorized without a token where one is needed."""
        return self._identify()

    @property
    def definitions(self) -> Definitions:
        """The CompartmentDefinitions in force."""
        from bulkhead.compartments import membership

        return membership.in_force(self.store)

    def of_entry(self) -> Session:
        """The session of one entry of this request's bundle: the same caller and store, a read log of its own."""
        return Session(
            connect=lambda: self.store,
            identify=lambda: self.caller,
            settings=self.settings,
            base=self.base,
            extended=self.extended,
            address=self.address,
        )


def of_claims(claims: Mapping[str, str] | None, auth: str, address: str) -> Caller:
    """The caller with the verified `claims`. Unauthorized."""
    return replace(policy.caller_of(claims, auth), address=address)


def unauthorized(reason: str) -> Callable[[], Caller]:
    """Identifies nobody, for this reason."""

    def refuse() -> Caller:
        raise Unauthorized(reason, "Authorization")

    return refuse
