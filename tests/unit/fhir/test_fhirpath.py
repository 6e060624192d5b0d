"""The one grammar of FHIRPath: constraints, search expressions and the paths of patches are read by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import NotSupported
from bulkhead.facts import expressions
from bulkhead.fhir import fhirpath
from bulkhead.fhir.fhirpath import Call, Child, Index, Literal, Name, Operation, TooMuch, parse

A, B, C = Name("a"), Name("b"), Name("c")


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ("a implies b or c", Operation("implies", A, Operation("or", B, C))),
        ("a or b and c", Operation("or", A, Operation("and", B, C))),
        ("a and b = c", Operation("and", A, Operation("=", B, C))),
        ("a = b | c", Operation("=", A, Operation("|", B, C))),
        ("a | b as c", Operation("|", A, Operation("as", B, C))),
        ("(a | b) as c", Operation("as", Operation("|", A, B), C)),
        ("a and b and c", Operation("and", Operation("and", A, B), C)),
        ("a.b[1].c", Child(Index(Child(A, "b"), 1), "c")),
        ("a.where(b = 'it\\'s').c", Child(Call(A, "where", (Operation("=", B, Literal("it's")),)), "c")),
        ("iif(a, b, c)", Call(None, "iif", (A, B, C))),
        ("a.contains('b') and $this = true", Operation("and", Call(A, "contains", (Literal("b"),)), Operation("=", Name("$this"), Literal(True)))),
    ],
)  # fmt: skip
def test_operators_bind_as_fhirpath_says(expression: str, tree: fhirpath.Node) -> None:
    assert parse(expression) == tree


@pytest.mark.parametrize("operator", sorted(fhirpath.OPERATORS - expressions.OPERATORS))
def test_an_operator_that_a_reader_does_not_know_is_refused(operator: str) -> None:
    assert parse(f"a {operator} b") == Operation(operator, A, B)
    with pytest.raises(NotSupported):
        parse(f"a {operator} b", expressions.OPERATORS)


@pytest.mark.parametrize(
    "expression", ["", "a.", "a..b", "a b", "a[b]", "a[1.5]", "(a", "a)", "f(a,)", "'a", "a #", "1 a"]
)
def test_what_is_no_fhirpath_is_refused(expression: str) -> None:
    with pytest.raises(NotSupported, match="not supported"):
        parse(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "a" * (fhirpath.LONGEST + 1),
        " | ".join(["a.b.c"] * fhirpath.STEPS),
        "(" * (fhirpath.DEEP + 1) + "a" + ")" * (fhirpath.DEEP + 1),
        ".".join(["a"] * (fhirpath.PATH + 2)),
        " and ".join(["a"] * (fhirpath.PATH + 2)),
        f"a[{'1' * (fhirpath.DIGITS + 1)}]",
    ],
    ids=["characters", "words", "parentheses", "steps", "operands", "digits"],
)
def test_the_bounds(expression: str) -> None:
    with pytest.raises(TooMuch):
        parse(expression)


def test_a_union_may_be_longer_than_a_path() -> None:
    tree = parse(" | ".join(["a"] * 2 * fhirpath.PATH), expressions.OPERATORS)
    assert isinstance(tree, Operation)
    assert tree.right == A


WORDS = ["a", "b", "'x'", "1", "1.5", "true", "$this", "%resource", *"()[].,", *sorted(fhirpath.OPERATORS)]


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=40))
def test_any_text_has_a_tree_or_is_refused(text: str) -> None:
    try:
        tree = parse(text)
    except NotSupported:
        return
    assert isinstance(tree, fhirpath.Node)
