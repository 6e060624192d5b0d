"""What a `$set-accounts` request may say. What it does: tests/integration/test_set_accounts.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest, Unprocessable
from bulkhead.operations.set_accounts_request import Request, parse

LIMIT = 50


def account(reference: Any, **more: Any) -> dict[str, Any]:
    return {"name": "accounts", "valueReference": {"reference": reference, **more}}


def parameters(*given: Any, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(given), **more}


PROPAGATE = {"name": "propagate", "valueBoolean": True}
REFERENCE = {"name": "account", "valueReference": {"reference": "Organization/a"}}
UNTIL = {"name": "until", "valueInstant": "2999-01-01T10:00:00+01:00"}


def test_accounts_keep_their_order_and_come_once() -> None:
    body = parameters(account("Practitioner/b"), account("Organization/a"), PROPAGATE, account("Practitioner/b"))
    assert parse(body, LIMIT) == Request(("Practitioner/b", "Organization/a"), propagate=True)


def test_propagate_is_off_by_default() -> None:
    assert parse(parameters(account("Organization/a")), LIMIT) == Request(("Organization/a",), propagate=False)
    off = {"name": "propagate", "valueBoolean": False}
    assert parse(parameters(account("Organization/a"), off), LIMIT).propagate is False


@pytest.mark.parametrize("body", [parameters(), {"resourceType": "Parameters"}, parameters(PROPAGATE)])
def test_no_accounts_clear(body: dict[str, Any]) -> None:
    assert parse(body, LIMIT).accounts == ()


def test_what_a_reference_says_besides_is_passed_over() -> None:
    body = parameters(account("Organization/a", display="A", type="Organization"), id="1", meta={}, language="en")
    assert parse(body, LIMIT).accounts == ("Organization/a",)


FIRST = "Parameters.parameter[0]"


@pytest.mark.parametrize(
    ("faulty", "place"),
    [
        ({"name": "account", "valueReference": {"reference": "Organization/a"}}, f"{FIRST}.name"),
        ({"valueReference": {"reference": "Organization/a"}}, f"{FIRST}.name"),
        ({"name": ["accounts"]}, f"{FIRST}.name"),
        ("accounts", f"{FIRST}.name"),
        (None, f"{FIRST}.name"),
        ({"name": "accounts"}, f"{FIRST}.valueReference"),
        ({"name": "accounts", "valueString": "Organization/a"}, f"{FIRST}.valueReference"),
        ({"name": "accounts", "part": []}, f"{FIRST}.part"),
        ({"name": "accounts", "part": None}, f"{FIRST}.part[0].name"),
        ({"name": "accounts", "part": [{"name": "end"}]}, f"{FIRST}.part[0].name"),
        ({"name": "accounts", "part": [REFERENCE, REFERENCE]}, f"{FIRST}.part[1]"),
        ({"name": "accounts", "part": [REFERENCE, {"name": "until"}]}, f"{FIRST}.part[1].valueInstant"),
        ({"name": "accounts", "part": [REFERENCE], "valueString": "x"}, f"{FIRST}.part"),
        ({"name": "until", "valueInstant": "2999-01-01"}, FIRST),
        ({"name": "until", "valueDateTime": "2999-01-01"}, FIRST),
        ({"name": "until", "valueDateTime": "2999-01-01T10:00:00"}, FIRST),
        ({"name": "until", "valueInstant": "2999-02-30T10:00:00Z"}, FIRST),
        ({"name": "until", "valueInstant": 7}, FIRST),
        ({"name": "until", "valueString": "2999-01-01T10:00:00Z"}, f"{FIRST}.valueInstant"),
        ({"name": "inherit", "valueBoolean": "false"}, f"{FIRST}.valueBoolean"),
        ({"name": "preview"}, f"{FIRST}.valueBoolean"),
        (account("Organization/a") | {"valueString": "x"}, f"{FIRST}.valueReference"),
        (account("Organization/a") | {"resource": {}}, f"{FIRST}.valueReference"),
        ({"name": "accounts", "valueReference": "Organization/a"}, f"{FIRST}.valueReference.reference"),
        ({"name": "accounts", "valueReference": {"display": "A"}}, f"{FIRST}.valueReference.reference"),
        ({"name": "accounts", "valueReference": {"identifier": {"value": "1"}}}, f"{FIRST}.valueReference.reference"),
        ({"name": "propagate"}, f"{FIRST}.valueBoolean"),
        ({"name": "propagate", "valueString": "true"}, f"{FIRST}.valueBoolean"),
        ({"name": "propagate", "valueBoolean": "true"}, f"{FIRST}.valueBoolean"),
        ({"name": "propagate", "valueBoolean": 1}, f"{FIRST}.valueBoolean"),
        ({"name": "propagate", "valueBoolean": None}, f"{FIRST}.valueBoolean"),
    ],
)
def test_a_faulty_parameter_is_named(faulty: Any, place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(parameters(faulty), LIMIT)
    assert [issue.expression for issue in caught.value.issues] == [place]
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "reference",
    [
        "",
        None,
        7,
        "Organization",
        "Organization/",
        "/a",
        "Organization/a/_history/1",
        "Organization/a b",
        "Organization/" + "a" * 65,
        "organization/a",
        "Company/a",
        "Resource/a",
        "https://elsewhere.example/fhir/R4/Organization/a",
        "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
        "#a",
        "Organization?identifier=s|v",
        "Organization/a\n",
    ],
)
def test_accounts_are_literal_references_on_this_server(reference: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(parameters(PROPAGATE, account(reference)), LIMIT)
    assert caught.value.issues[0].expression == "Parameters.parameter[1].valueReference.reference"


@pytest.mark.parametrize(
    "parameter",
    [PROPAGATE, UNTIL, {"name": "inherit", "valueBoolean": False}, {"name": "preview", "valueBoolean": True}],
)
def test_what_is_of_the_whole_request_may_be_given_once(parameter: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(parameters(parameter, parameter), LIMIT)
    assert [issue.expression for issue in caught.value.issues] == ["Parameters.parameter[1]"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "Parameters"),
        ({"resourceType": "Patient"}, "Parameters"),
        ({"parameter": [PROPAGATE]}, "Parameters"),
        ({"resourceType": "Parameters", "parameter": {}}, "Parameters.parameter"),
        ({"resourceType": "Parameters", "parameter": None}, "Parameters.parameter"),
        ({"resourceType": "Parameters", "accounts": []}, "Parameters"),
    ],
)
def test_what_is_not_parameters_is_refused(body: dict[str, Any], place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(body, LIMIT)
    assert caught.value.issues[0].expression == place


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(parameters({"name": "x"}, account("a"), PROPAGATE, {"name": "propagate", "valueBoolean": 0}), LIMIT)
    assert len(caught.value.issues) == 3


def test_more_accounts_than_the_limit_are_refused() -> None:
    given = [account(f"Organization/{n}") for n in range(LIMIT)]
    assert len(parse(parameters(*given), LIMIT).accounts) == LIMIT
    with pytest.raises(BadRequest):
        parse(parameters(*given, account("Organization/x")), LIMIT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceType", "parameter", "name", "valueReference", "reference", "valueBoolean"])
            | st.text(max_size=3),
            children | st.sampled_from(["Parameters", "accounts", "propagate", "Organization/a"]),
            max_size=4,
        )
    ),
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3), JSON)
def test_nonsense_never_clears(more: dict[str, Any], given: Any) -> None:
    """Whatever comes is refused with an expression, or is a list that names no accounts."""
    body = more | {"resourceType": "Parameters", "parameter": given}
    refused: tuple[Any, ...] = ()
    accounts: tuple[str, ...] = ()
    try:
        accounts = parse(body, LIMIT).accounts
    except BadRequest as error:
        refused = error.issues
    named = isinstance(given, list) and any(isinstance(item, dict) and item.get("name") == "accounts" for item in given)
    assert all(issue.expression for issue in refused)
    assert refused or (isinstance(given, list) and bool(accounts) == named)


def test_an_account_ends_when_its_part_says_so_or_else_the_request() -> None:
    own = {"name": "until", "valueDateTime": "2999-06-01T00:00:00Z"}
    body = parameters(account("Practitioner/b"), UNTIL, {"name": "accounts", "part": [own, REFERENCE]})
    assert parse(body, LIMIT) == Request(
        ("Practitioner/b", "Organization/a"),
        ends={"Practitioner/b": "2999-01-01T09:00:00.000Z", "Organization/a": "2999-06-01T00:00:00.000Z"},
    )


def test_an_account_with_two_ends_is_refused() -> None:
    parts = {"name": "accounts", "part": [REFERENCE, UNTIL]}
    assert parse(parameters(parts, parts), LIMIT).accounts == ("Organization/a",)
    with pytest.raises(BadRequest) as caught:
        parse(parameters(parts, account("Organization/a")), LIMIT)
    assert caught.value.issues[0].expression == "Parameters.parameter[1]"


def test_an_end_in_the_past_is_refused_at_each_account_that_has_it() -> None:
    past = {"name": "until", "valueInstant": "2020-01-01T00:00:00Z"}
    body = parameters(account("Practitioner/b"), past, {"name": "accounts", "part": [REFERENCE, UNTIL]})
    with pytest.raises(Unprocessable) as caught:
        parse(body, LIMIT)
    assert [issue.expression for issue in caught.value.issues] == ["Parameters.parameter[0]"]


@pytest.mark.parametrize(("value", "inherits"), [(True, True), (False, False)])
def test_inherit_and_preview_are_as_they_are_given(value: bool, inherits: bool) -> None:
    asked = parse(parameters({"name": "inherit", "valueBoolean": value}, {"name": "preview", "valueBoolean": value}), 1)
    assert (asked.inherit, asked.preview) == (inherits, value)
    assert parse(parameters(), 1) == Request((), inherit=None, preview=False)


@pytest.mark.parametrize("parameter", [{}, {"name": 1}, {"name": None}, "accounts"])
def test_a_parameter_without_a_name_is_told_which_names_there_are(parameter: Any) -> None:
    with pytest.raises(BadRequest, match="must have one of the names accounts, propagate") as refused:
        parse(parameters(parameter), LIMIT)
    assert refused.value.issues[0].expression == "Parameters.parameter[0].name"
