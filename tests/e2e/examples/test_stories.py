"""Each example tells its story, whoever runs it: a caller with every right, and one who is fenced to an organisation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.e2e.examples.conftest import FOLDER
from tests.support.running import ROOT, Server

Example = Callable[[str], ModuleType]
Connected = Callable[[str], httpx.Client]

ANYBODY = pytest.mark.parametrize("token", ["TOKEN", "TOKEN_HARBOUR", "TOKEN_LIGHTHOUSE"])
OTHER = {"TOKEN_HARBOUR": "TOKEN_LIGHTHOUSE", "TOKEN_LIGHTHOUSE": "TOKEN_HARBOUR"}
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "fhir_client")


def require_hidden(connected: Connected, token: str, *keys: str) -> None:
    """What a fenced caller has made is not there for the other organisation."""
    if token in OTHER:
        other = connected(OTHER[token])
        assert [other.get(key).status_code for key in keys] == [404] * len(keys)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_runs_from_the_command_line(server: Server, script: str, tmp_path: Path) -> None:
    """As its first lines say, from the root of the repository; on a server that wants no token."""
    more = ["--file", str(tmp_path / "registry.sqlite")] if script == "registry" else []
    command = [sys.executable, f"examples/{script}.py", "--base", server.url, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_readme_has_them_all() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [name for name in SCRIPTS if f"{name}.py" not in text] == []


@ANYBODY
def test_the_medication_list(
    example: Example, connected: Connected, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connected(token)
    patient = example("medication_list").run(client)
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in told[:2]] == ["version 1, working", "version 2, changes"]
    assert told[2:4] == [
        "takes: losartan potassium 50 MG, metformin 500 MG",
        "a change that is made from version 1: 412",
    ]
    assert told[4:] == ["handed over in May: 2026-05-04, 2026-05-30", "$find gives the same List: True"]
    statuses = client.get(f"{patient}/MedicationRequest").json()["entry"]
    assert sorted(entry["resource"]["status"] for entry in statuses) == ["active", "active", "stopped"]
    require_hidden(connected, token, patient)


@ANYBODY
def test_the_audit_trail(example: Example, connected: Connected, token: str) -> None:
    """The List is made, looked for twice, searched by (`_list`), and changed."""
    client = connected(token)
    events = example("audit_trail").run(client)
    assert [event.subtype[0].code for event in events] == ["create", *["search-type"] * 3, "update"]
    require_hidden(connected, token, *(f"AuditEvent/{event.id}" for event in events))


@ANYBODY
def test_documents(example: Example, connected: Connected, token: str, capsys: pytest.CaptureFixture[str]) -> None:
    client = connected(token)
    first, second = example("documents").run(client)
    old, new = client.get(first).json(), client.get(second).json()
    assert (old["status"], new["status"]) == ("superseded", "current")
    assert new["relatesTo"][0]["target"]["reference"] == first
    told = capsys.readouterr().out
    assert "'Discharged in good health. Follow-up in May.'" in told
    assert "a second replacement of the same document: 412" in told
    require_hidden(connected, token, first, second, new["content"][0]["attachment"]["url"])


@ANYBODY
def test_the_identity_source(
    example: Example, connected: Connected, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connected(token)
    first, second, third = example("identity_source").run(client)
    assert len(client.get(f"Patient/{first}/Observation").json()["entry"]) == 3
    links = client.get(f"Patient/{first}").json()["link"]
    assert [link["other"]["reference"] for link in links] == [f"Patient/{second}", f"Patient/{third}"]
    told = capsys.readouterr().out
    assert "answers for 3 Observations, of 3 Patients" in told
    assert "the other way round: 422" in told
    require_hidden(connected, token, f"Patient/{first}", f"Patient/{second}")


@ANYBODY
def test_an_adverse_reaction(
    example: Example, connected: Connected, guarded: Server, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a token for the patient, who sees and tells, and for another patient, who does neither."""
    patient, story = f"nora-{token.lower().replace('_', '-')}", example("adverse_reaction")
    own, stranger = (
        example("fhir_client").connect(guarded.url, patient_token(guarded, name)) for name in (patient, "bruno")
    )
    with own, stranger:
        allergy = story.run(connected(token), own, f"Patient/{patient}")
        told = capsys.readouterr().out
        assert "made from an older version: 412" in told
        assert "version 3: Confirmed - It began on the second day." in told
        events = connected(token).get("AdverseEvent", params={"subject": f"Patient/{patient}"}).json()["entry"]
        assert len(events) == 1
        assert own.get(f"AdverseEvent/{events[0]['resource']['id']}").status_code == 200
        assert stranger.get(f"AllergyIntolerance/{allergy.id}").status_code == 404
        with pytest.raises(RuntimeError, match=r"^(403|404|422) "):
            story.tell(stranger, f"Patient/{patient}")
        # The patient's token is good for the own entry, and for no prescription.
        with pytest.raises(RuntimeError, match="403"):
            story.prescribe(own, f"Patient/{patient}")
    require_hidden(connected, token, f"AllergyIntolerance/{allergy.id}")


def patient_token(server: Server, patient: str) -> str:
    """The token that the example's first lines tell of."""
    port = server.url.rpartition(":")[2].partition("/")[0]
    scope = "patient/*.rs patient/AllergyIntolerance.cu"
    command = [sys.executable, "-m", "infra.local.token", "--port", port, "--patient", patient, "--scope", scope]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
