"""The examples of docs/sharing.md, as they stand there, against the sample clinic."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from infra.local import sample, token
from tests.support.door import Door

PAGE = Path(__file__).parents[2] / "docs/sharing.md"
_EXAMPLE = re.compile(
    r"```http\nas (?P<who>[^\n]+)\n(?P<method>[A-Z]+)(?: (?P<path>\S+))?\n(?P<body>\{.*?\n)?-> (?P<status>\d+)(?P<shown>[^\n]*)\n```",
    re.S,
)


class Example(NamedTuple):
    who: str
    method: str
    path: str
    body: str
    status: int
    shown: list[str]


def examples() -> list[Example]:
    text = PAGE.read_text()
    found = list(_EXAMPLE.finditer(text))
    assert len(found) == text.count("```http"), "an example has another form"
    return [
        Example(
            one["who"], one["method"], one["path"] or "", one["body"] or "", int(one["status"]),
            [word.strip().strip('"') for word in one["shown"].split(" with ") if word.strip()],
        )
        for one in found
    ]  # fmt: skip


def tokens() -> dict[str, Namespace]:
    """What the page says to give to `make token`, by whom the token is for."""
    lines = re.findall(r"^(\w+)=\$\(make -s token(?: ARGS=\"([^\"]*)\")?\)", PAGE.read_text(), re.M)
    names = {"ANNAS_APP": "anna's app"}
    return {names.get(name, name.lower()): token.parser().parse_args(shlex.split(given)) for name, given in lines}


@pytest.fixture(scope="module")
def clinic(make_store: Any, keys_folder: Path) -> Iterator[dict[str, httpx.Client]]:
    with pytest.MonkeyPatch.context() as patch:
        door = Door(make_store(history_settle=0), keys_folder, patch)
        made = {
            who: door.client(given.scope, who, accounts=given.accounts, patient=given.patient)
            for who, given in tokens().items()
        }
        assert made["admin"].post("", json=sample.bundle()).status_code == 200
        yield made


def test_every_example_of_the_page_is_true(clinic: dict[str, httpx.Client]) -> None:
    for example in examples():
        headers = {"content-type": "application/fhir+json"} if example.body else {}
        path = example.path.replace("*", "%2A")
        answer = clinic[example.who].request(example.method, path, content=example.body, headers=headers)
        assert answer.status_code == example.status, (example, answer.text)
        assert all(word in answer.text for word in example.shown), (example, answer.text)
    # The page's own promise, by hand: it has opened Chidi's record to Harbour.
    letter = [clinic[who].get("Binary/chidi-letter") for who in ("harbour", "lighthouse", "anna's app")]
    assert [answer.status_code for answer in letter] == [200, 200, 404]
    assert clinic["anna's app"].get("Binary/anna-letter", headers={"accept": "*/*"}).text.startswith("Visit of")


def test_every_rule_is_on_the_page() -> None:
    from bulkhead.access.explanation import REASONS
    from bulkhead.access.rules import Rule

    text = PAGE.read_text()
    assert set(REASONS) == set(Rule)
    assert [rule for rule in Rule if f"| `{rule}` |" not in text] == []
