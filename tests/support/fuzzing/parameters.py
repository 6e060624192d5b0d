"""SearchParameters with expressions of any kind, right and not, and searches by them."""

from __future__ import annotations

from typing import Any

from bulkhead.fhir import definitions
from tests.support.fuzzing.dice import Dice
from tests.support.fuzzing.seeds import SEARCH_PARAMETER

TYPES = (
    "Patient",
    "Patient",
    "Observation",
    "Encounter",
    "Organization",
    "SearchParameter",
    "Bundle",
    "Questionnaire",
    "Resource",
    "DomainResource",
)
KINDS = ("string", "token", "reference", "date", "number", "quantity", "uri", "composite", "special", "nothing")
# Every expression of a type is a fair beginning for one that is nearly right.
CONDITIONS = (
    "system = 'x'", "value.exists()", "resolve() is Patient", "use = 'official' and value != 'x'", "hasExtension('x')", "1 = 1", "$this", "system", "exists()", "empty()",
    "url = 'x' and url = 'y' and url = 'z'", "value is Quantity", "extension.value.extension.value.exists()", "",
)  # fmt: skip
FUNCTIONS = (
    "resolve()",
    "exists()",
    "first()",
    "extension('x')",
    "as(Quantity)",
    "as(string)",
    "ofType(Period)",
    "ofType(nothing)",
    "hasExtension('x')",
    "repeat(item)",
    "count()",
    "value",
    "extension",
    "id",
    "resource",
    "contained",
    "item",
    "meta",
    "text",
    "div",
)
PIECES = (
    "(",
    ")",
    ".",
    "|",
    " and ",
    " or ",
    "'",
    "'x'",
    "[0]",
    "[99999999999]",
    "[-1]",
    "%resource",
    "%context",
    "$this",
    " as ",
    " is ",
    "=",
    "!=",
    "~",
    "1",
    "{}",
    "\\",
    "\x00",
    "é",
    "Patient",
    "`id`",
    "/*",
    "//",
    " ",
)
VALUES = (
    "x",
    "",
    "Zyxwvuts",
    "urn:mrn|Zyxwvuts",
    "|x",
    "x|",
    "|",
    "2020",
    "ge2020-01-01",
    "gt5",
    "5.4||mg",
    "5.4|http://unitsofmeasure.org|mg",
    "-1e400",
    "Patient/p",
    "p",
    "http://x.example/a",
    "a$b",
    "a,b",
    "\\",
    "true",
    "#c",
    "ap1",
    "\x00",
    "1e-300",
    "9" * 400,
)
MODIFIERS = (
    "",
    "",
    "",
    ":exact",
    ":contains",
    ":missing",
    ":not",
    ":above",
    ":below",
    ":in",
    ":not-in",
    ":text",
    ":of-type",
    ":identifier",
    ":Patient",
    ":Patient.name",
    ".name",
    ":phonetic",
    ":iterate",
    ":x",
)


def expression(dice: Dice, base: str) -> str:
    """An expression about a type: a walk along its elements, unions, conditions, casts; or one of HL7's with a piece changed."""
    made = " | ".join(_path(dice, base) for _ in range(dice.choice((1, 1, 1, 2, 5))))
    if dice.one_in(3):
        known = [
            one.expression
            for one in definitions.search_parameters(
                "Patient" if base not in definitions.RESOURCE_TYPES else base
            ).values()
            if one.expression
        ]
        made = dice.choice(known)
    for _ in range(dice.choice((0, 0, 1, 2))):
        at = dice.randint(0, len(made))
        made = made[:at] + dice.choice(PIECES) + made[at + dice.choice((0, 0, 1, 6)) :]
    if dice.one_in(60):
        made = dice.choice(
            (
                f"({made})" * 2,
                "(" * 30 + made + ")" * 30,
                " | ".join([made] * 200),
                made + ".extension.value" * 12,
                made + ".extension" * 60,
                "item." * 40 + "linkId",
                "x" * 10_001,
            )
        )
    return made


def _path(dice: Dice, base: str) -> str:
    known = base if base in definitions.RESOURCE_TYPES else "Patient"
    steps, at = [base], known
    for _ in range(dice.randint(1, 4)):
        try:
            element = dice.choice(definitions.elements(at).elements)
        except KeyError:
            break
        steps.append(element.name if not dice.one_in(25) else "nothing")
        at = dice.choice(element.types)
        if dice.one_in(4):
            steps.append(f"where({dice.choice(CONDITIONS)})")
        if dice.one_in(6):
            steps.append(dice.choice(FUNCTIONS))
        if dice.one_in(12):
            steps[-1] += f"[{dice.randint(0, 2)}]"
    path = ".".join(steps)
    return f"({path} as {at.partition('.')[0]})" if dice.one_in(4) else path


def definition(dice: Dice) -> dict[str, Any]:
    """A SearchParameter that is valid R4, or nearly so; what it means may be anything."""
    base = dice.choice(TYPES)
    kind = dice.choice(KINDS)
    made = SEARCH_PARAMETER | {
        "id": dice.choice(("s", "t", "u")),
        "code": dice.choice(("s", "s", "t", "name", "_id", "identifier", "s:t", "s.t", "")),
        "base": dice.choice(([base], [base, "Observation"], ["Patient"], [])),
        "type": kind,
        "expression": expression(dice, base),
    }
    if dice.one_in(10):
        del made["expression"]
    if kind == "composite" or dice.one_in(15):
        url = dice.choice(list(definitions.search_parameters("Observation").values())).url
        made["component"] = [
            {
                "definition": dice.choice((url, "http://x.example/none")),
                "expression": dice.choice(("code", "value as Quantity", "$this", "%resource.code", "(", "value")),
            }
            for _ in range(dice.randint(1, 3))
        ]
    if dice.one_in(3):
        made["target"] = dice.choice((["Patient"], ["Nothing"], ["Patient", "Group", "Organization"]))
    return made


def queries(dice: Dice, made: dict[str, Any]) -> list[str]:
    """Paths and queries that search by a parameter."""
    code, base = made["code"] or "s", (made["base"] or ["Patient"])[0]
    found = []
    for _ in range(dice.randint(1, 4)):
        kind = base if base in definitions.RESOURCE_TYPES else dice.choice(("Patient", "Observation"))
        pair = f"{code}{dice.choice(MODIFIERS)}={_quoted(dice.choice(VALUES))}"
        found.append(
            dice.choice(
                (
                    f"{kind}?{pair}", f"{kind}?{pair}", f"{kind}?{pair}&_total=accurate", f"{kind}?_sort={code}", f"{kind}?_sort=-{code}&_count=1",
                    f"Patient/p/{kind}?{pair}", f"Patient/p/*?{pair}", f"Observation?subject:Patient.{pair}", f"Patient?_has:Observation:{code}:{pair}",
                    f"{kind}?_include={kind}:{code}", f"{kind}?_revinclude={kind}:{code}", f"{kind}?_include=*&{pair}", f"{kind}?{pair}&{pair}",
                )
            )
        )  # fmt: skip
    return found


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="|,$:")
