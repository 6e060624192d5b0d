"""A search as data: `parse` makes it from a query string; `plan`, `run` and `bundle` read it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cached_property

from msgspec import Struct, structs

from bulkhead.facts.normalise import fold, spellings
from bulkhead.facts.phonetic import sounds
from bulkhead.fhir.definitions import SearchParameter

Custom = Callable[[str, str], SearchParameter | None]
"""(resource type, code) -> the parameter that clients have defined; None if there is none."""


def no_custom(resource_type: str, code: str) -> SearchParameter | None:
    """For searches without any defined parameter."""
    return None


class TokenValue(Struct, frozen=True):
    """`code` has the system None (any), `|code` has "" (no system), `system|` has the code None (any)."""

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
    """First and last instant of a searched date, with its prefix; already extended for `ap`."""

    prefix: str
    first: str
    last: str


class NumberValue(Struct, frozen=True):
    """`margin` is half of the last given digit: 100 means 99.5 up to, not including, 100.5. See `literals.margin`."""

    prefix: str
    number: Decimal
    margin: Decimal


class QuantityValue(Struct, frozen=True):
    """A number with its unit. Without a system (None), `code` means the code or the printed unit."""

    amount: NumberValue
    system: str | None
    code: str | None


class UriValue(Struct, frozen=True):
    uri: str


class ReferenceValue(Struct, frozen=True):
    """`Patient/1`, `1` (type None), `Patient/1/_history/2`, or a url of another server (id None).

    A url with `|version` means that version; with `|` at its end, a canonical without a version; otherwise any version.
    """

    type: str | None = None
    id: str | None = None
    version: str | None = None
    url: str | None = None

    @property
    def key(self) -> str | None:
        """`Patient/1` if both type and id are known."""
        return f"{self.type}/{self.id}" if self.type and self.id else None


class NearValue(Struct, frozen=True):
    """A point on Earth in degrees, and a distance from it."""

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
    """One condition: any of `values` must match. `name` is the parameter as the client wrote it, with its modifier."""

    name: str
    parameter: SearchParameter
    modifier: str | None
    values: tuple[Value, ...]

    # A value set or a list of ids may have thousands of values: these sets find one of them at once.

    @cached_property
    def tokens(self) -> frozenset[tuple[str | None, str | None]]:
        """(system, code) of the tokens among the values."""
        return frozenset((value.system, value.code) for value in self.values if isinstance(value, TokenValue))

    @cached_property
    def folded_tokens(self) -> frozenset[tuple[str | None, str | None]]:
        """`tokens` with case-folded codes."""
        return frozenset((system, code and code.casefold()) for system, code in self.tokens)

    @cached_property
    def of_strings(self) -> bool:
        """Whether all values are strings."""
        return all(isinstance(value, StringValue) for value in self.values)

    @cached_property
    def texts(self) -> frozenset[str]:
        """The strings among the values, as they are."""
        return frozenset(value.text for value in self.values if isinstance(value, StringValue))

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """The strings among the values, folded: a match begins with one of the spellings, or contains it."""
        return tuple(dict.fromkeys(spelling for text in self.texts for spelling in spellings(text)))

    @cached_property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The words of each of the `spellings`."""
        return tuple(tuple(one.split()) for one in self.spellings)

    @cached_property
    def one_by_one(self) -> int:
        """How many values each value of a resource is compared with: 0 where a set, or one comparison, tells of all of them."""
        kind = self.parameter.type
        if self.modifier == "missing" or (kind == "token" and self.modifier in (None, "not")):
            return 0
        if kind == "string" and self.modifier in (None, "exact"):
            return 0
        if kind == "reference" and self.modifier != "identifier":
            return len(self.links)
        return len(self.values)

    @cached_property
    def sounds(self) -> tuple[frozenset[str], ...]:
        """The sounds of the words of each string among the values."""
        return tuple(sounds([fold(value.text)]) for value in self.values if isinstance(value, StringValue))

    @cached_property
    def keys(self) -> frozenset[tuple[str | None, str | None]]:
        """(type, id) of the references to this server among the values, without their versions."""
        plain = (value for value in self.values if isinstance(value, ReferenceValue) and value.version is None)
        return frozenset((value.type, value.id) for value in plain if value.id)

    @cached_property
    def of_targets(self) -> bool:
        """Whether what a resource points at decides: the values are resources of this server, the parameter one that has them."""
        is_plain = self.parameter.type == "reference" and self.modifier is None and self.parameter.code[0] != "_"
        return is_plain and bool(self.keys) and not self.links

    @cached_property
    def of_tokens(self) -> bool:
        """Whether the values are tokens, and no modifier changes what they mean."""
        return self.modifier is None and all(isinstance(value, TokenValue) for value in self.values)

    @cached_property
    def own_to(self) -> dict[str, bool]:
        """What is known of types: whether the parameter is R4's own there, so that targets are noted under it (`matching`)."""
        return {}

    @cached_property
    def links(self) -> tuple[ReferenceValue, ...]:
        """The other references among the values: to a version, or by a url."""
        found = (value for value in self.values if isinstance(value, ReferenceValue))
        return tuple(value for value in found if value.id is None or value.version is not None)


class Link(Struct, frozen=True):
    """One step of a chain: through `code` to a resource of `type` (None: any), or back from one that points here."""

    code: str
    type: str | None
    reverse: bool = False
    parameter: SearchParameter | None = None
    """The parameter `code` of the type that has the reference; set once the chain is checked."""


class Chain(Struct, frozen=True):
    """`subject:Patient.name=x`, `_has:Observation:patient:code=y`: conditions on other resources."""

    name: str
    links: tuple[Link, ...]
    parameter: str
    value: str
    inner: tuple[tuple[str, Query], ...] = ()
    """The search that a resource behind the first link must meet, by type."""

    @property
    def rest(self) -> str:
        """The parameter without its first link: the condition on the resources behind it."""
        steps = [
            f"_has:{link.type}:{link.code}:" if link.reverse else f"{link.code}{f':{link.type}' if link.type else ''}."
            for link in self.links[1:]
        ]
        return "".join((*steps, self.parameter))


ANYTHING = "*"


class Include(Struct, frozen=True):
    """`_include=MedicationRequest:patient:Patient`. `*` as code means every reference parameter of the type; as type, every type."""

    name: str
    type: str
    code: str
    target: str | None
    iterate: bool = False
    parameter: SearchParameter | None = None
    """The parameter `code`; None for `*`."""


class Sort(Struct, frozen=True):
    code: str
    descending: bool
    parameter: SearchParameter | None = None


class Results(Struct, frozen=True):
    """The form of the result: the result parameters of R4 (search.html#return)."""

    count: int
    """Entries of a page; 0 asks only for the number of matches, as `_summary=count` does."""
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
    """The searched resource types; empty means every type of the compartment."""
    path: str
    """The part between base and `?` in links: "Observation", "Patient/1/Observation", "Patient/1/*", ""."""
    compartment: str | None
    """"Patient/1" in a compartment search; else None."""
    clauses: tuple[Clause, ...]
    chains: tuple[Chain, ...]
    results: Results
    used: tuple[tuple[str, str], ...]
    """The honoured parameters without the cursor: the self link shows them."""
    ignored: tuple[str, ...] = ()
    """Names of unknown parameters, which the search ignores."""
    known: tuple[str, ...] = ()
    """If a parameter was ignored: the names that the client could have meant."""
    replaced: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Patients that the query names, each with those that it replaces. The clauses already include these (see `widening`)."""

    def of_at_most(self, entries: int | None) -> Query:
        """The same search, its page of at most so many matches; None for as many as it asks for."""
        if entries is None or entries >= self.results.count:
            return self
        return structs.replace(self, results=structs.replace(self.results, count=entries))

    @property
    def compartments(self) -> tuple[str, ...]:
        """The compartment of a compartment search, and those of the Patients that its Patient replaces."""
        return (self.compartment, *dict(self.replaced).get(self.compartment, ())) if self.compartment else ()
