"""The main job: share a patient with another organisation, and see it."""

from __future__ import annotations

import shutil
import subprocess

import httpx
import pytest

from infra.local import banner
from tests.support.running import Server


def test_the_printed_commands_do_the_main_job() -> None:
    if not (shutil.which("curl") and shutil.which("bash") and shutil.which("awk")):
        pytest.skip("curl, bash and awk are needed to paste the commands")
    with Server() as server:
        share, follow, show = (
            line for line in server.banner if line in banner.commands(server.url.removesuffix("/fhir/R4"), auth=True)
        )
        # All pasted at once: the last one must show what the first one did.
        script = "\n".join([f"TOKEN={server.printed('TOKEN')}", share, follow, show])
        shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)

    assert "resourcesUpdated" in shown.stderr
    assert shown.stdout.count('"Organization/lighthouse"') >= 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/Patient/no-such", 404), ("GET", "/NoSuchType/1", 404), ("DELETE", "/Patient/anna/$set-accounts", 405),
     ("GET", "/Patient/anna/$set-accounts", 405), ("POST", "/Patient/anna", 405), ("GET", "/../etc", 404)],
)  # fmt: skip
def test_what_is_not_there_is_an_outcome(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
