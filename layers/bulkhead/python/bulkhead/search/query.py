"""A search as data: what `parse` makes of a query string, and what `plan`, `run` and `bundle` read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property

from msgspec import Struct, structs

from bulkhead.facts.normalise import fold, spellings
from bulkhead.facts.phonetic import sounds
from bulkhead.fhir.definitions import SearchParameter


class TokenValue(Struct, frozen=True):
    """`code` has system None (any), `|code` has "" (none), `system|` has code None (any)."""

    system: str | None
    code: str | None


class OfTypeValue(Struct, frozen=True):
    """`identifier:of-type=system|code|value`: an Identifier's type and value."""

    system: str
    code: str
    value: str


class StringValue(Struct, frozen=True):
    text: str


class DateValue(Struct, frozen=True):
    """First and last instant of what was asked for, under a prefix; for `ap` widened already."""

    prefix: str
    first: str
    last: str


class NumberValue(Struct, frozen=True):
    """`margin` is half of the last digit given: 100 stands for 99.5 up to, not including, 100.5. See `literals.margin`."""

    prefix: str
    number: Decimal
    margin: Decimal


class QuantityValue(Struct, frozen=True):
    """A number with its unit: system None and code given means the code, or the unit as printed."""

    amount: NumberValue
    system: str | None
    code: str | None


class UriValue(Struct, frozen=True):
    uri: str


class ReferenceValue(Struct, frozen=True):
    """`Patient/1`, `1` (type None), `Patient/1/_history/2`, or a url elsewhere (id None).

    A url with `|version` means that version, with a `|` at its end a canonical without a version, else any version.
    """

    type: str | None = None
    id: str | None = None
    version: str | None = None
    url: str | None = None

    @property
    def key(self) -> str | None:
        """`Patient/1` where type and id are both known."""
        return f"{self.type}/{self.id}" if self.type and self.id else None


class NearValue(Struct, frozen=True):
    """A point on Earth in degrees, and how far from it."""

    latitude: float
    longitude: float
    metres: float


class MissingValue(Struct, frozen=True):
    missing: bool


class CompositeValue(Struct, frozen=True):
    """One value for each component."""

    parts: tuple[Value, ...]


Value = (
    TokenValue
    | OfTypeValue
    | StringValue
    | DateValue
    | NumberValue
    | QuantityValue
    | UriValue
    | ReferenceValue
    | NearValue
    | MissingValue
    | CompositeValue
)


class Clause(Struct, frozen=True, dict=True):
    """One condition: any of `values` must match. `name` is the parameter as the client wrote it, modifier and all."""

    name: str
    parameter: SearchParameter
    modifier: str | None
    values: tuple[Value, ...]

    # A value set or a list of ids may have thousands of values: these find one of them at once.

    @cached_property
    def tokens(self) -> frozenset[tuple[str | None, str | None]]:
        """(system, code) of the tokens among the values."""
        return frozenset((value.system, value.code) for value in self.values if isinstance(value, TokenValue))

    @cached_property
    def folded_tokens(self) -> frozenset[tuple[str | None, str | None]]:
        """`tokens` with their codes' case folded."""
        return frozenset((system, code and code.casefold()) for system, code in self.tokens)

    @cached_property
    def spellings(self) -> Mapping[str, tuple[str, ...]]:
        """The strings among the values, folded: a match begins with one of the spellings, or has it within."""
        return {value.text: spellings(value.text) for value in self.values if isinstance(value, StringValue)}

    @cached_property
    def sounds(self) -> tuple[frozenset[str], ...]:
        """How the words of each string among the values sound."""
        return tuple(sounds([fold(value.text)]) for value in self.values if isinstance(value, StringValue))

    @cached_property
    def keys(self) -> frozenset[tuple[str | None, str | None]]:
        """(type, id) of the references to this server among the values, whatever the version."""
        plain = (value for value in self.values if isinstance(value, ReferenceValue) and value.version is None)
        return frozenset((value.type, value.id) for value in plain if value.id)

    @cached_property
    def links(self) -> tuple[ReferenceValue, ...]:
        """The other references among the values: to a version, or by a url."""
        found = (value for value in self.values if isinstance(value, ReferenceValue))
        return tuple(value for value in found if value.id is None or value.version is not None)


class Link(Struct, frozen=True):
    """One step of a chain: through `code` to a `type` of resource (None: any), or back from one that points here."""

    code: str
    type: str | None
    reverse: bool = False
    parameter: SearchParameter | None = None
    """What `code` means, of the type that has the reference: known once the chain is checked."""


class Chain(Struct, frozen=True):
    """`subject:Patient.name=x`, `_has:Observation:patient:code=y`: conditions on other resources."""

    name: str
    links: tuple[Link, ...]
    parameter: str
    value: str
    inner: tuple[tuple[str, Query], ...] = ()
    """By type of the resources behind the first link: the search that one of them must meet."""

    @property
    def rest(self) -> str:
        """The parameter without its first link: what the resources behind it are asked."""
        steps = [
            f"_has:{link.type}:{link.code}:" if link.reverse else f"{link.code}{f':{link.type}' if link.type else ''}."
            for link in self.links[1:]
        ]
        return "".join((*steps, self.parameter))


ANYTHING = "*"


class Include(Struct, frozen=True):
    """`_include=MedicationRequest:patient:Patient`; `*` as code means every reference parameter of the type, as type any."""

    name: str
    type: str
    code: str
    target: str | None
    iterate: bool = False
    parameter: SearchParameter | None = None
    """What `code` means; None for `*`."""


class Sort(Struct, frozen=True):
    code: str
    descending: bool
    parameter: SearchParameter | None = None


class Results(Struct, frozen=True):
    """How the matches are to be given: the result parameters of R4 (search.html#return)."""

    count: int
    """Entries of a page; 0 asks for the number of matches only, as `_summary=count` does."""
    sort: tuple[Sort, ...] = ()
    total: str | None = None
    summary: str | None = None
    elements: tuple[str, ...] = ()
    include: tuple[Include, ...] = ()
    revinclude: tuple[Include, ...] = ()
    cursor: str | None = None

    @property
    def count_only(self) -> bool:
        return self.count == 0 or self.summary == "count"


class Query(Struct, frozen=True):
    """A whole search."""

    types: tuple[str, ...]
    """Resource types searched; empty means every type that the compartment has."""
    path: str
    """What stands between base and `?` in links: "Observation", "Patient/1/Observation", "Patient/1/*", ""."""
    compartment: str | None
    """"Patient/1" in a compartment search."""
    clauses: tuple[Clause, ...]
    chains: tuple[Chain, ...]
    results: Results
    used: tuple[tuple[str, str], ...]
    """The parameters that were honoured, cursor apart: what the self link shows."""
    ignored: tuple[str, ...] = ()
    """Names of parameters that were not known, and left out."""
    known: tuple[str, ...] = ()
    """Where any was ignored: the names that could have been meant."""
    replaced: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Patients that are named, each with those that it replaces: the clauses have these already (see `widening`)."""

    def of_at_most(self, entries: int | None) -> Query:
        """The same search, its page of at most so many matches; None for as many as it asks for."""
        if entries is None or entries >= self.results.count:
            return self
        return structs.replace(self, results=structs.replace(self.results, count=entries))

    @property
    def compartments(self) -> tuple[str, ...]:
        """The compartment of a compartment search, and those of the Patients that its Patient replaces."""
        return (self.compartment, *dict(self.replaced).get(self.compartment, ())) if self.compartment else ()
