"""What searches, compartments and fences read of a store: the part that a fake stands in for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bulkhead.settings import Settings
    from bulkhead.store.heads import Head
    from bulkhead.store.index import Found, Moment, Pointer
    from bulkhead.store.version import Version


class ReadStore(Protocol):
    """The reading face of `Store`; see there for what each of these gives."""

    @property
    def settings(self) -> Settings: ...

    @property
    def definitions_mark(self) -> object: ...

    def read(self, key: str) -> Head | None: ...

    def read_many(self, wanted: Iterable[str]) -> dict[str, Head]: ...

    def read_version(self, key: str, version: int) -> Head | None: ...

    def read_versions(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Head]: ...

    def decode(self, head: Head) -> dict[str, Any]: ...

    def version(self, head: Head) -> Version: ...

    def written_definitions(self) -> list[str]: ...

    def governing(self, resource_type: str, name: str) -> Sequence[str]: ...

    def compartment_definitions(self) -> list[str]: ...

    def pointing_at(
        self, target: str, resource_type: str | None = None, after: str | None = None, *, limit: int = 1000
    ) -> list[Pointer]: ...

    def in_account(
        self, account: str, resource_type: str | None = None, after: str | None = None, *, limit: int = 1000
    ) -> list[Pointer]: ...

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
    ) -> list[Found]: ...

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
    ) -> list[Found]: ...

    def is_in_clinical_order(self) -> bool: ...

    def has_categories(self) -> bool: ...

    def is_in_date_order(self) -> bool: ...

    def date_months(self, resource_type: str, parameter: str) -> list[str]: ...

    def can_count(self) -> bool: ...

    def count(self, resource_type: str, *, most: int) -> int | None: ...

    def heads_can_count(self) -> bool: ...

    def heads_pointing_at(
        self, patient: str, resource_type: str | None, *, most: int
    ) -> Mapping[str, frozenset[str]]: ...

    def heads_with_code(self, resource_type: str, parameter: str, code: str, *, most: int) -> Mapping[str, str]: ...
    def count_of_accounts(
        self, resource_type: str, accounts: Collection[str], *, is_counted: Callable[[Head], bool], most: int
    ) -> int | None: ...

    def types_in_use(self) -> list[str]: ...

    def by_time(
        self,
        resource_type: str,
        since: str | None = None,
        until: str | None = None,
        *,
        after: str | None = None,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[Moment]: ...
