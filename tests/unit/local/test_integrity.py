"""The command that compares a data folder's resources with their index."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import BODIES, Store, keys
from infra.local import aws, dynamodb, s3
from tests.conftest import dynamodb_client
from tests.support.bundle_samples import patient


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "infra.local.integrity", *arguments]
    return subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two patients, one of whom has lost an entry; and an entry that somebody staged who died."""
    process = dynamodb.start(str(tmp_path / aws.TABLE_FILE))
    client = dynamodb_client(process.endpoint)
    client.create_table(**keys.table_definition(aws.NAME))
    store = Store(client, None, Settings(table=aws.NAME))
    for name in ("p", "q"):
        resources.update(Session.of(store, EVERYBODY), patient(name, id=name), f"Patient/{name}")
    store.table.put_many([], [("Patient|identifier|p", "http://example.org/ids#p")])
    store.table.put({"pk": {"S": "Patient/never"}, "sk": {"S": "i#Patient/p#"}, "v": {"N": "1"}})
    process.stop()
    bucket = s3.Objects(str(tmp_path / "s3.sqlite"))
    # Of a writer that died, before there was anything that leads there.
    body = store.encode({"resourceType": "Patient", "id": "p", "active": True})
    bucket.put(aws.NAME, f"{BODIES}{'0' * 64}", body, content_type="")
    bucket.close()
    return tmp_path


def test_it_says_what_is_amiss_and_mends_it(folder: Path) -> None:
    mended = command("--data", str(folder))
    assert mended.returncode == 0
    assert {"resources: 3", "missing: 1", "orphans: 1", "bodies: 1", "damaged: 0"} <= set(mended.stdout.splitlines())
    assert s3.Objects(str(folder / "s3.sqlite")).listed(aws.NAME, "", "", limit=9) == []
    again = command("--data", str(folder), "--dry-run")
    assert {"resources: 2", "missing: 0", "orphans: 0", "damaged: 0"} <= set(again.stdout.splitlines())


def test_it_refuses_what_is_in_use_or_not_there(tmp_path: Path) -> None:
    (tmp_path / aws.TABLE_FILE).touch()
    with open(tmp_path / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused = command("--data", str(tmp_path))
    assert (refused.returncode, "another server" in refused.stderr) == (1, True)
    refused = command("--data", str(tmp_path / "nowhere"))
    assert (refused.returncode, "not a data folder" in refused.stderr) == (1, True)
