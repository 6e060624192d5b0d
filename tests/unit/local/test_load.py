from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local import load
from infra.local.listener import Listener
from infra.local.wsgi import Answer, Environ, read_body

OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"expression": ["Bundle.entry[0]"], "diagnostics": "is bad"}]}


class Fake:
    """A FHIR server that remembers the bundles, and refuses those whose id is `bad`."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.lets_in = 200
        self.outcome: Any = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "nothing here"}]}
        self.headers: list[Environ] = []

    def __call__(self, environ: Environ) -> Answer:
        self.headers.append(environ)
        bundle = json.loads(gzip.decompress(read_body(environ)))
        self.posted.append(bundle["id"])
        if self.lets_in != 200:
            return Answer(self.lets_in, {}, json.dumps(self.outcome).encode())
        if bundle["id"] == "bad":
            return Answer(400, {}, json.dumps(OUTCOME).encode())
        statuses = bundle.get("statuses", ["201 Created"])
        entries = [{"response": {"status": status, "outcome": OUTCOME}} for status in statuses]
        return Answer(200, {}, json.dumps({"entry": entries}).encode())


@pytest.fixture
def fake() -> Iterator[tuple[Fake, str]]:
    server = Fake()
    listener = Listener("127.0.0.1", 0, server, threads=2)
    listener.serve()
    yield server, f"http://127.0.0.1:{listener.port}/fhir/R4"
    listener.stop()


def write(path: Path, **bundle: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps({"resourceType": "Bundle", "id": path.name.split(".")[0], **bundle}).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_folders_load_one_after_another_hospitals_and_practitioners_first(
    tmp_path: Path, fake: tuple[Fake, str]
) -> None:
    server, base = fake
    for name in (
        "b/zoe.json",
        "b/practitionerInformation1.json.gz",
        "a/anna.json.gz",
        "a/0-hospitalInformation2.json",
        "a/PRACTITIONER.json",
    ):
        write(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("not a bundle")

    assert load.main([str(tmp_path), "--base", base + "/", "--token", "T"]) == 0
    assert server.posted == ["0-hospitalInformation2", "PRACTITIONER", "anna", "practitionerInformation1", "zoe"]
    assert {each["HTTP_AUTHORIZATION"] for each in server.headers} == {"Bearer T"}
    assert {each["HTTP_CONTENT_ENCODING"] for each in server.headers} == {"gzip"}


def test_a_refused_bundle_is_named_with_its_outcome_and_the_rest_goes_on(
    tmp_path: Path, fake: tuple[Fake, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server, base = fake
    write(tmp_path / "bad.json")
    write(tmp_path / "good.json")

    assert load.main([str(tmp_path), "--base", base]) == 1
    assert server.posted == ["bad", "good"]
    shown = " ".join(capsys.readouterr().err.split())
    assert "400 Bundle.entry[0] is bad" in shown


def test_a_batch_with_a_failed_entry_is_a_failure(tmp_path: Path, fake: tuple[Fake, str]) -> None:
    path = write(tmp_path / "batch.json", statuses=["201 Created", "422 Unprocessable"])
    posted = load.post(fake[1], None, load.compressed(path))
    assert posted == load.Posted(2, ["422 Unprocessable Bundle.entry[0] is bad"])


def test_no_server_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.json", "b.json"):
        write(tmp_path / name)
    assert load.main([str(tmp_path), "--base", "http://127.0.0.1:1/fhir/R4"]) == 1
    shown = capsys.readouterr().err
    assert shown.count("no server answers at http://127.0.0.1:1/fhir/R4 (Connection refused): start it") == 1


@pytest.mark.parametrize(("status", "told"), [(401, "give a --token"), (404, "ends in /fhir/R4"), (405, "--base")])
def test_a_server_that_takes_no_bundle_is_asked_once(
    tmp_path: Path, fake: tuple[Fake, str], capsys: pytest.CaptureFixture[str], status: int, told: str
) -> None:
    server, base = fake
    server.lets_in = status
    for name in ("a-folder-with-a-long-name-" * 5 + "/a.json", "b.json"):
        write(tmp_path / name)
    assert load.main([str(tmp_path), "--base", base]) == 1
    assert len(server.posted) == 1
    shown = capsys.readouterr().err
    assert f"{base}: {status} nothing here: " in shown
    assert told in shown


def test_a_reference_that_leads_nowhere_is_a_fault_of_one_bundle(tmp_path: Path, fake: tuple[Fake, str]) -> None:
    server, base = fake
    server.lets_in, server.outcome = 404, OUTCOME
    for name in ("a.json", "b.json"):
        write(tmp_path / name)
    assert load.main([str(tmp_path), "--base", base]) == 1
    assert server.posted == ["a", "b"]


def test_the_name_of_a_file_is_never_broken(
    tmp_path: Path, fake: tuple[Fake, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / ("a-folder-with-a-long-name-" * 5) / "bad.json")
    assert load.main([str(path), "--base", fake[1]]) == 1
    assert f"{path}: 400" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing", "."])
def test_nothing_to_load_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        load.main([str(tmp_path / name)])
    assert ended.value.code == 2
