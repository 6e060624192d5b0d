"""Parses a query string into a Query: checks names, modifiers and values against the parameters of the searched types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from msgspec import structs

from bulkhead.errors import BadRequest, NotFound, NotSupported, TooCostly
from bulkhead.facts import index_facts
from bulkhead.fhir import definitions, older_versions, queries
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.search import literals, parameter_names
from bulkhead.search.hierarchy import hierarchical
from bulkhead.search.literals import unescape
from bulkhead.search.query import ANYTHING, Chain, Clause, Custom, Include, Link, Query, Results, Sort, Value, no_custom
from bulkhead.search.sorting import SORTABLE
from bulkhead.settings import Settings

OWN = Settings()
"""The limits on searches that the server makes for itself."""

MODIFIERS: Mapping[str, frozenset[str]] = {
    "token": frozenset({"missing", "not", "text", "of-type", "in", "not-in", "above", "below"}),
    "string": frozenset({"missing", "exact", "contains", "text"}),
    "date": frozenset({"missing"}),
    "number": frozenset({"missing"}),
    "quantity": frozenset({"missing"}),
    "uri": frozenset({"missing", "above", "below"}),
    "reference": frozenset({"missing", "identifier"}),
    "composite": frozenset(),
    "special": frozenset(),
}

# Parameters of R4, or planned ones of ours, without support yet: refused by name, never ignored.
REFUSED = frozenset({"_text", "_content", "_filter", "_query", "_contained", "_containedType"})
REFUSED_MODIFIERS = frozenset({"above", "below", "contains", "code-text", "text-advanced"})
# All modifiers of parameters that this server does not know, without the resource types.
ANY_MODIFIER = REFUSED_MODIFIERS.union(*MODIFIERS.values())

# Parameters for the HTTP layer, not for the search: the links keep them, so that the next page has the same form.
FORMAT = frozenset({"_format", "_pretty", "_explain"})

SUMMARIES = frozenset({"true", "text", "data", "count", "false"})
TOTALS = frozenset({"none", "estimate", "accurate"})

TWICE = frozenset({"_sort", "_elements"})
"""Result parameters that may be repeated; a repetition of any other is ambiguous."""

# Parameters that may end a chain, in addition to those of the type.
RESULT_FREE = frozenset({"_account", "_compartment"})

ACCOUNT = SearchParameter(code="_account", url="", type="reference", expression="")
COMPARTMENT = SearchParameter(code="_compartment", url="", type="reference", expression="")
LIST = SearchParameter(code="_list", url="", type="reference", expression="")

# Modifiers of references whose values are not references.
_NOT_URLS = frozenset({"missing", "identifier", "above", "below"})
# The form in which a message may repeat a value that should be the code of a parameter.
_CODE = re.compile(r"[a-z_][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"(?P<code>[^:.]+)(?::(?P<modifier>[^:.]+))?")


def parse(
    query: Sequence[tuple[str, str]],
    resource_type: str | None,
    *,
    compartment: str | None = None,
    compartment_types: Iterable[str] = (),
    base: str = "",
    strict: bool = False,
    custom: Custom = no_custom,
    limits: Settings = OWN,
) -> Query:
    """The Query of `GET [base]/{resource_type}?query`.

    query:              decoded names and values in the order given; for POST _search those of the URL and the body together
    resource_type:      None for the whole system (`_type` names types), and for `*` in a compartment
    compartment:        "Patient/1" for `GET Patient/1/{resource_type}`; `compartment_types` are those of its definition
    base:               base URL of this server: references below it are local
    strict:             `Prefer: handling=strict`: an unknown parameter is an error instead of being ignored
    custom:             the parameters that clients have defined: see `custom.stored_in`
    limits:             the settings that bound a client's search

    Raises BadRequest or NotSupported with the parameter as expression; NotFound for a type that R4 does not have.
    """
    if resource_type is not None and resource_type not in definitions.RESOURCE_TYPES:
        raise NotFound(
            f"there is no resource type {resource_type}{older_versions.instead_of(resource_type)}",
            expression=resource_type,
        )
    limit = limits.parameter_limit
    if len(query) > limit:
        raise TooCostly(f"a search may have at most {limit} parameters", expression=query[limit][0])
    types = (
        (resource_type,)
        if resource_type
        else requested_types(query, in_compartment=compartment is not None, of_compartment=compartment_types)
    )
    known = common(types) | {"_account": ACCOUNT, "_compartment": COMPARTMENT, "_list": LIST}
    among = types or (compartment_types if compartment else definitions.RESOURCE_TYPES)
    reader = _Reader(types, known, base, compartment is not None, strict, custom, among=tuple(among), limits=limits)
    for name, text in query:
        parameter_names.require_form(name, PLAIN, reader.named_in_r4)
        if text == "":
            reader.skip(name)
        elif name == "_type" and not resource_type:
            reader.keep(name, text)
        else:
            reader.read(name, text)
    where = resource_type or ("*" if compartment else "")
    return Query(
        types=types,
        path=f"{compartment}/{where}" if compartment else where,
        compartment=compartment,
        clauses=tuple(reader.clauses),
        chains=tuple(reader.chains),
        results=reader.results(),
        used=tuple(reader.used),
        ignored=tuple(dict.fromkeys(reader.ignored)),
        known=tuple(sorted(known.keys() - REFUSED)) if reader.ignored else (),
    )


def requested_types(
    query: Sequence[tuple[str, str]], *, in_compartment: bool, of_compartment: Iterable[str]
) -> tuple[str, ...]:
    """The types that `_type` names, sorted; () for all. BadRequest for a name that is no type, or not in the compartment."""
    names = sorted({name for parameter, text in query if parameter == "_type" and text for name in text.split(",")})
    of_compartment = frozenset(of_compartment)
    for name in names:
        if name not in definitions.RESOURCE_TYPES:
            raise BadRequest(f"{name[:64]} is not a resource type of R4", expression="_type")
        if in_compartment and name not in of_compartment:
            raise BadRequest(f"the definition of this compartment does not have {name}", expression="_type")
    return tuple(names)


def common(types: tuple[str, ...]) -> dict[str, SearchParameter]:
    """The parameters of one type; those that several types have in common; without types, those of all."""
    if len(types) == 1:
        return dict(definitions.search_parameters(types[0]))
    first = definitions.search_parameters(types[0] if types else "Basic")
    others = [definitions.search_parameters(name) for name in types[1:]]
    return {
        code: parameter
        for code, parameter in first.items()
        if (code.startswith("_") if not types else all(alike(parameter, other.get(code)) for other in others))
    }


def alike(one: SearchParameter, other: SearchParameter | None) -> bool:
    """Whether a parameter means the same for two types, although each has its own expression for it."""
    if other is None or one.type != other.type or one.type == "composite":
        return one == other
    return True


@dataclass
class _Reader:
    """Collects one query's parameters; `used` holds those that are honoured."""

    types: tuple[str, ...]
    known: dict[str, SearchParameter]
    base: str
    in_compartment: bool
    strict: bool
    custom: Custom
    among: tuple[str, ...]
    """The types that the search can find."""
    limits: Settings
    clauses: list[Clause] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    used: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    """The result parameters read so far."""
    single: dict[str, str] = field(default_factory=dict)
    sort: tuple[Sort, ...] = ()
    elements: tuple[str, ...] = ()
    include: list[Include] = field(default_factory=list)
    revinclude: list[Include] = field(default_factory=list)

    def keep(self, name: str, text: str) -> None:
        if text:
            self.used.append((name, text))

    def skip(self, name: str) -> None:
        """Ignores a parameter without a value, after a check of its modifier."""
        match = _NAME.fullmatch(name)
        if match and match["code"] not in PLAIN and match["code"] not in ("_include", "_revinclude"):
            self.modified(match["code"], match["modifier"], name)

    def read(self, name: str, text: str) -> None:
        code = name.partition(":")[0]
        if name in PLAIN - TWICE:
            if name in self.given:
                raise BadRequest(f"{name} may occur only once", expression=name)
            self.given.add(name)
        if code in REFUSED:
            raise NotSupported(f"the parameter {code} is not supported", expression=name)
        if name == "_cursor":
            self.single[name] = text
            return
        if name in FORMAT:
            self.keep(name, text)
            return
        if name in RESULT_READERS:
            RESULT_READERS[name](self, text)
        elif code in ("_include", "_revinclude"):
            self.read_include(code, name, text)
        elif name.startswith("_has:") or ("." in name and self.parameter(re.split("[:.]", name)[0])):
            self.chains.append(self.linked(chain(name, text, self.limits.chain_limit)))
        elif not self.read_clause(name, text):
            return
        self.keep(name, text)

    def linked(self, found: Chain) -> Chain:
        """The chain with its inner searches. BadRequest where a link is invalid, or no type behind it has the parameter."""
        link, code = found.links[0], re.split("[:.]", found.rest)[0]
        parameter: SearchParameter | None
        if link.reverse:
            parameter = self.pointing(link, found.name)
            types: tuple[str, ...] = (link.type or "",)
        else:
            if link.code in RESULT_FREE or link.code == "_list":
                raise NotSupported(f"chains through {link.code} are not supported", expression=found.name)
            parameter = self.parameter(link.code)
            types = chained_types(link, parameter, found.name)
        asked = [
            name
            for name in types
            if code == "_has" or code in RESULT_FREE | common((name,)).keys() or self.custom(name, code)
        ]
        if not asked:
            raise BadRequest(f"no type that {found.name} leads to has the parameter {code}", expression=found.name)
        inner = tuple((name, self.inner(name, found)) for name in asked)
        links = (structs.replace(link, parameter=parameter), *found.links[1:])
        return structs.replace(found, links=links, inner=inner)

    def pointing(self, link: Link, name: str) -> SearchParameter:
        """The parameter of a link of `_has`. BadRequest if it does not lead to the searched types."""
        if link.type not in definitions.RESOURCE_TYPES:
            raise BadRequest(f"{name} names a resource type that R4 does not have", expression=name)
        assert link.type is not None
        parameter = definitions.search_parameters(link.type).get(link.code) or self.custom(link.type, link.code)
        if parameter is None or parameter.type != "reference":
            raise BadRequest(f"{link.type} has no reference parameter {link.code}", expression=name)
        of_any = not self.types or not parameter.targets or "Resource" in parameter.targets
        if not of_any and not set(self.types) & set(parameter.targets):
            raise BadRequest(
                f"{link.code} of {link.type} does not refer to the type that is searched here", expression=name
            )
        return parameter

    def inner(self, resource_type: str, found: Chain) -> Query:
        try:
            return parse(
                [(found.rest, found.value)],
                resource_type,
                base=self.base,
                strict=True,
                custom=self.custom,
                limits=self.limits,
            )
        except BadRequest as error:
            issues = [replace(issue, expression=found.name) for issue in error.issues]
            raise type(error)(str(error), issues=issues) from None

    def parameter(self, code: str) -> SearchParameter | None:
        """The parameter with this code: R4's, or else one that clients have defined."""
        if code not in self.known and self.types:
            found = self.custom(self.types[0], code)
            if found is not None and all(self.custom(name, code) == found for name in self.types[1:]):
                self.known[code] = found
        return self.known.get(code)

    def modified(self, code: str, modifier: str | None, name: str) -> tuple[SearchParameter | None, str | None]:
        """The parameter with a code, and its modifier. BadRequest if the two do not fit.

        None for a parameter that no searched type has. BadRequest for one that only some types have: without it, the search
        would return all of the others (R4: parameters must be common to the types searched).
        """
        parameter = self.parameter(code)
        if parameter is not None:
            return parameter, checked_modifier(modifier, parameter, name)
        meant = self.named_in_r4(code)
        if meant != code:
            raise BadRequest(f"this search has no parameter {code}: R4's name is {meant}", expression=name)
        if code[0] != "_" and len(self.types) != 1 and any(self.has(one, code) for one in self.among):
            raise BadRequest(f"not every type in this search has the parameter {code}", expression=name)
        if modifier is not None and modifier not in ANY_MODIFIER | definitions.RESOURCE_TYPES:
            raise BadRequest(f"there is no modifier :{modifier}", expression=name)
        return None, modifier

    def named_in_r4(self, code: str) -> str:
        """The parameter that a code which nothing searched here has is meant for: `whenHandedOver`, `period`. The code itself where nobody knows."""
        if self.parameter(code) is not None:
            return code
        alike = parameter_names.alike(code, (*self.known, *PLAIN, "_include", "_revinclude"))
        return alike or older_versions.parameter(code, self.known) or code

    def has(self, resource_type: str, code: str) -> bool:
        """Whether a type has a parameter. Clients' parameters are looked up for the first type only: each look-up is a search."""
        if code in definitions.search_parameters(resource_type):
            return True
        return resource_type in self.types[:1] and self.custom(resource_type, code) is not None

    def read_clause(self, name: str, text: str) -> bool:
        code, _, modifier = name.partition(".")[0].partition(":")
        parameter, checked = self.modified(code, modifier or None, name)
        if parameter is None:
            if self.strict:
                raise BadRequest(f"this search has no parameter {name}", expression=name)
            self.ignored.append(name)
            return False
        siblings = MappingProxyType(dict(self.known))
        parts = [part for part in literals.split(text, ",") if part]
        limit = self.limits.value_limit
        if len(parts) > limit:
            raise TooCostly(f"{name} may have at most {limit} values", expression=name)
        values: tuple[Value, ...]
        if parameter.type == "reference" and checked not in _NOT_URLS and self.is_canonical(parameter):
            given = [
                literals.canonicals(unescape(part), parameter, checked, name=name, base=self.base) for part in parts
            ]
            values = tuple(value for forms in given for value in forms)
        else:
            values = tuple(
                literals.value(part, parameter, checked, name=name, base=self.base, siblings=siblings) for part in parts
            )
        if not values:
            raise BadRequest(f"{name} must have a value", expression=name)
        self.clauses.append(Clause(name, parameter, checked, values))
        return True

    def is_canonical(self, parameter: SearchParameter) -> bool:
        """Whether a parameter is about canonicals, in the form that a searched type has it."""
        if not parameter.expression or not self.types:
            return False
        known = [definitions.search_parameters(name).get(parameter.code, parameter) for name in self.types]
        return any(
            index_facts.is_canonical(name, one) for name, one in zip(self.types, known, strict=True) if one.expression
        )

    def read_include(self, code: str, name: str, text: str) -> None:
        limit = self.limits.include_limit
        if len(self.include) + len(self.revinclude) >= limit:
            raise TooCostly(f"a search may have at most {limit} includes", expression=name)
        known_type = self.types[0] if len(self.types) == 1 else None
        entry = include(name, text, known_type if code == "_include" else None, custom=self.custom)
        if code == "_revinclude" and entry.parameter and not index_facts.is_own(entry.type, entry.parameter):
            raise NotSupported(f"{name} does not support parameters that clients have defined", expression=name)
        (self.include if code == "_include" else self.revinclude).append(entry)

    def read_count(self, text: str) -> None:
        self.single["_count"] = str(min(queries.count(text), self.limits.count_limit))

    def read_sort(self, text: str) -> None:
        keys = [(key.removeprefix("-"), key.startswith("-")) for key in text.split(",") if key]
        limit = self.limits.sort_limit
        if len(self.sort) + len(keys) > limit:
            raise TooCostly(f"_sort may name at most {limit} parameters", expression="_sort")
        for code, _ in keys:
            parameter = self.parameter(code)
            if parameter is None or parameter.type not in SORTABLE or code in REFUSED | {"_list"}:
                shown = f" by {code}" if _CODE.fullmatch(code) else ": its value is not the code of a parameter"
                raise BadRequest(f"this search cannot be sorted{shown}", expression="_sort")
        self.sort += tuple(Sort(code, descending, self.known[code]) for code, descending in keys)

    def read_choice(self, name: str, text: str, choices: frozenset[str]) -> None:
        if text not in choices:
            raise BadRequest(f"{name} must be one of {', '.join(sorted(choices))}", expression=name)
        self.single[name] = text

    def read_elements(self, text: str) -> None:
        self.elements += tuple(part for part in text.split(",") if part)

    def read_since(self, text: str) -> None:
        """Reads `_since` of a compartment search as `_lastUpdated=ge`."""
        if not self.in_compartment:
            raise BadRequest(
                "_since applies to histories and compartments; here use _lastUpdated=ge...", expression="_since"
            )
        parameter = self.known["_lastUpdated"]
        self.clauses.append(Clause("_since", parameter, None, (literals.date(f"ge{text}", "_since"),)))

    def results(self) -> Results:
        if self.single.get("_summary") == "text" and (self.include or self.revinclude):
            raise BadRequest("_summary=text cannot be combined with includes", expression="_summary")
        default = self.limits.count_default
        self.used = [(name, self.single["_count"] if name == "_count" else text) for name, text in self.used]
        return Results(
            count=int(self.single.get("_count", default)),
            sort=self.sort,
            total=self.single.get("_total"),
            summary=self.single.get("_summary"),
            elements=self.elements,
            include=tuple(self.include),
            revinclude=tuple(self.revinclude),
            cursor=self.single.get("_cursor"),
        )


RESULT_READERS: Mapping[str, Callable[[_Reader, str], None]] = {
    "_count": _Reader.read_count,
    "_sort": _Reader.read_sort,
    "_elements": _Reader.read_elements,
    "_since": _Reader.read_since,
    "_summary": lambda reader, text: reader.read_choice("_summary", text, SUMMARIES),
    "_total": lambda reader, text: reader.read_choice("_total", text, TOTALS),
}

PLAIN = frozenset({*RESULT_READERS, *FORMAT, "_type", "_cursor"})
"""Parameters without modifiers."""


def checked_modifier(modifier: str | None, parameter: SearchParameter, name: str) -> str | None:
    """The modifier, if the parameter has it; a resource type is a modifier of references. R4: any other SHALL be refused."""
    if modifier is None or modifier in MODIFIERS[parameter.type]:
        return modifier
    if parameter.type == "reference" and modifier in ("above", "below") and hierarchical(parameter):
        return modifier
    if parameter.type == "reference" and modifier in definitions.RESOURCE_TYPES:
        if parameter.targets and modifier not in parameter.targets and "Resource" not in parameter.targets:
            raise BadRequest(f"{parameter.code} cannot refer to resources of the type {modifier}", expression=name)
        return modifier
    if modifier in REFUSED_MODIFIERS:
        raise NotSupported(f"the modifier :{modifier} is not supported for {parameter.code}", expression=name)
    raise BadRequest(f"{parameter.code} has no modifier :{modifier}", expression=name)


def chained_types(link: Link, parameter: SearchParameter | None, name: str) -> tuple[str, ...]:
    """The types that a forward link leads to."""
    if parameter is None or parameter.type != "reference":
        raise BadRequest(f"{link.code} is not a reference parameter of the searched type", expression=name)
    if link.type is not None:
        if link.type not in definitions.RESOURCE_TYPES:
            raise BadRequest(f"there is no resource type {link.type}", expression=name)
        checked_modifier(link.type, parameter, name)
        return (link.type,)
    if not parameter.targets or "Resource" in parameter.targets:
        raise BadRequest(f"{name} must name the type of the target, for example {link.code}:Patient", expression=name)
    return ("Patient",) if index_facts.only_patients(parameter) else parameter.targets


def chain(name: str, text: str, limit: int) -> Chain:
    """Parses `subject:Patient.organization.name` or `_has:Observation:patient:code`, of at most `limit` links."""
    links: list[Link] = []
    rest = name
    while True:
        if rest.startswith("_has:"):
            parts = rest.split(":", 3)
            if len(parts) != 4 or not all(parts):
                raise BadRequest("_has must be _has:Type:reference:parameter", expression=name)
            links.append(Link(parts[2], parts[1], reverse=True))
            rest = parts[3]
        elif "." in rest:
            step, _, rest = rest.partition(".")
            match = _NAME.fullmatch(step)
            if not match or not rest:
                raise BadRequest(f"{name} is not a valid chain of parameters", expression=name)
            links.append(Link(match["code"], match["modifier"]))
        else:
            return Chain(name, tuple(links), rest, text)
        if len(links) > limit:
            raise TooCostly(f"a chain may have at most {limit} links", expression=name)


def include(name: str, text: str, known_type: str | None, *, custom: Custom) -> Include:
    """Parses `Type:parameter[:TargetType]`, or `*`. BadRequest if the type has no such reference parameter."""
    _, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise BadRequest(f"this server does not support the include {name}", expression=name)
    if text == ANYTHING:
        return Include(name, known_type or ANYTHING, ANYTHING, None, bool(modifier))
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise BadRequest(f"{name} must be Type:parameter or Type:parameter:TargetType", expression=name)
    source, code, target = parts[0], parts[1], parts[2] if len(parts) == 3 else None
    if source not in definitions.RESOURCE_TYPES or (target and target not in definitions.RESOURCE_TYPES):
        raise BadRequest(f"{name} names a resource type that R4 does not have", expression=name)
    if code == ANYTHING:
        return Include(name, source, code, target, bool(modifier))
    parameter = definitions.search_parameters(source).get(code) or custom(source, code)
    if parameter is None or parameter.type != "reference":
        raise BadRequest(f"{source} has no reference parameter {code}", expression=name)
    return Include(name, source, code, target, bool(modifier), parameter)
