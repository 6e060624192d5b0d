"""A setting that is misspelt stops the start, in a sentence that says what is allowed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Literal, get_origin, get_type_hints

import pytest

from bulkhead.settings import Settings, from_environment
from infra import settings_page


def test_nothing_said_is_the_default() -> None:
    assert from_environment({"PATH": "/bin"}) == Settings()


def test_variables_are_named_after_their_fields() -> None:
    said = from_environment({"AUTH": "off", "SYNC_LIMIT": "0", "ISSUER": "https://issuer.example", "BASE_URL": ""})
    assert said == Settings(auth="off", sync_limit=0, issuer="https://issuer.example")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("AUTH", "of", "on or off"),
        ("AUTH", "", "on or off"),
        ("AUTH", "OFF", "on or off"),
        ("HISTORY_ACCESS", "curent", "current or version"),
        ("EXTENDED_META", "on request", "always or on-request"),
        ("CONDITIONAL_DELETE", "all", "single or multiple"),
        ("BULK_WRITES", "transaction", "batch or transact or single"),
        ("LOG_LEVEL", "loud", "DEBUG or INFO or WARNING or ERROR or CRITICAL"),
        ("SYNC_LIMIT", "-1", "a whole number of at least 0"),
        ("SYNC_LIMIT", "many", "a whole number of at least 0"),
        ("SYNC_LIMIT", "1_000", "a whole number of at least 0"),
        ("SYNC_LIMIT", "9" * 5000, "a whole number of at least 0"),
        ("ENTRY_LIMIT", "0", "a whole number of at least 1"),
        ("PROPAGATION_BATCH", "2001", "a whole number of at most 2000"),
        ("THREADS", "1.5", "a whole number of at least 1"),
        ("ISSUER", "issuer.example", "a URL that begins with https:// or http://"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        from_environment({name: value})
    assert str(error.value) == f"{name} is {value!r}; it must be {allowed}"


def test_every_default_is_allowed_and_no_number_may_be_negative() -> None:
    defaults = {each.name.upper(): str(each.default) for each in fields(Settings)}
    assert from_environment(defaults) == Settings()
    for each in fields(Settings):
        if isinstance(each.default, int):
            with pytest.raises(ValueError, match=each.name.upper()):
                from_environment({each.name.upper(): "-1"})


def test_a_setting_of_few_values_says_which() -> None:
    """A text that only some words are good for has a Literal: else a misspelt one passes."""
    free = {"table", "bucket", "state_machine", "bundle_state_machine", "audience", "console_client"}
    free |= {"audit", "private", "unchecked_invariants", "shared_types"}
    types = get_type_hints(Settings, include_extras=True)
    texts = {each.name for each in fields(Settings) if isinstance(each.default, str)}
    closed = {name for name in texts if get_origin(types[name]) is Literal}
    urls = {name for name in texts if name.endswith(("_url", "_uri", "_endpoint")) or name == "issuer"}
    assert texts == free | closed | urls


def test_the_page_has_every_setting_as_the_class_has_it() -> None:
    """`make settings` writes it anew."""
    assert (Path(__file__).parents[2] / "docs/settings.md").read_text() == settings_page.page()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("SYNC_LIMIT", "| `SYNC_LIMIT` | `1000` | from 0 |"),
        ("BODY_LIMIT", "| `BODY_LIMIT` | `300000` | from 1 |"),
        ("AUTH", "| `AUTH` | `on` | `on` or `off` |"),
        ("BASE_URL", "| `BASE_URL` | empty | a URL |"),
    ],
)
def test_a_row_says_default_bounds_and_meaning(name: str, row: str) -> None:
    (found,) = (line for line in settings_page.page().splitlines() if line.startswith(f"| `{name}` "))
    assert found.startswith(row)
    assert len(found.removeprefix(row)) > 20
