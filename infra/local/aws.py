"""AWS on this machine: DynamoDB (dynoxide), S3 and Step Functions, behind the standard `AWS_ENDPOINT_URL*` variables."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from bulkhead import settings
from infra.local import dynamodb, lambdas, s3, signed_urls
from infra.local.listener import Limits, Listener
from infra.local.states import ExecutionFailed
from infra.local.step_functions import StepFunctions
from infra.local.wsgi import Answer, Environ, read_body

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

NAME = "bulkhead"
REGION = "us-east-1"
STATE_MACHINE = f"arn:aws:states:{REGION}:000000000000:stateMachine:{NAME}-propagation"
BUNDLE_STATE_MACHINE = f"arn:aws:states:{REGION}:000000000000:stateMachine:{NAME}-bundle"
_INFRA = Path(__file__).resolve().parents[1]
DEFINITIONS = {
    STATE_MACHINE: _INFRA / "propagation.asl.json",
    BUNDLE_STATE_MACHINE: _INFRA / "bundle.asl.json",
}
"""The definition of each state machine, by its ARN."""
THREADS = 8
SECRET_FILE = "secret"
TABLE_FILE = "dynamodb.sqlite"
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
log = logging.getLogger("bulkhead.local")


class Aws:
    """The running emulation. Its constructor starts everything and points this process's boto3 at it."""

    def __init__(self, data: Path | None, *, auth: bool, gsi_lag: int = 0) -> None:
        """`data` is the folder that keeps table, objects and executions; None keeps nothing. `gsi_lag`: milliseconds."""
        self._gsi_lag = gsi_lag / 1000
        self._database = _start_dynamodb(data)
        self.objects = s3.Objects(_file(data, "s3.sqlite"))
        machines = {machine: definition(path) for machine, path in DEFINITIONS.items()}
        self.step_functions = StepFunctions(
            machines, lambdas.invoke, self._get_object, path=_file(data, "executions.sqlite")
        )
        self._secret = _secret(data)
        self._listener = Listener("127.0.0.1", 0, self._answer, threads=THREADS, admit=self._admit, limits=_limits())
        self._listener.serve()
        os.environ.update(
            _environment(f"http://127.0.0.1:{self._listener.port}", self._secret, self._database, auth=auth)
        )
        if gsi_lag:
            # A job that waits for the indexes must wait longer than they lag.
            os.environ.setdefault("PROPAGATION_SETTLE", str(gsi_lag // 1000 + 1))
        for foreign in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(foreign, None)

    def prepare(self) -> None:
        """Makes the table if it is absent; otherwise finishes the transactions that a killed process left behind."""
        from bulkhead.store import connect, keys

        store = connect()
        if self._gsi_lag:
            from infra.local.lag import LaggingIndexes

            store.table.client = cast("DynamoDBClient", LaggingIndexes(store.table.client, self._gsi_lag))
        client = store.table.client
        try:
            client.create_table(**keys.table_definition(NAME))
        except client.exceptions.ResourceInUseException:
            # Another DynamoDB may have other users, whose open transactions we must not abort.
            if self._database:
                store.abort_open()
            threading.Thread(target=store.sweep, name="sweeper", daemon=True).start()
        self.step_functions.resume()

    def stop(self) -> None:
        """Stops the database first: work that is still running must not write any more."""
        if self._database:
            self._database.stop()
        self._listener.stop()

    def _admit(self, environ: Environ) -> Answer | None:
        """Refuses requests before a large body is read: Step Functions takes none, S3 only with a signature."""
        if _is_step_functions(environ):
            return Answer(413)
        return None if environ["REQUEST_METHOD"] == "OPTIONS" else s3.refusal(environ, self._secret)

    def _answer(self, environ: Environ) -> Answer:
        if not _is_step_functions(environ):
            return s3.answer(environ, self.objects, self._secret)
        body = read_body(environ)
        if signed_urls.refusal(environ, self._secret, body):
            return Answer(
                400, {"Content-Type": "application/x-amz-json-1.0"}, b'{"__type": "InvalidSignatureException"}'
            )
        return self.step_functions.answer({**environ, "wsgi.input": io.BytesIO(body)})

    def _get_object(self, bucket: str, key: str) -> bytes:
        body = self.objects.body(bucket, key)
        if body is None:
            raise ExecutionFailed("States.ItemReaderFailed", f"no object {key}")
        return body


def _is_step_functions(environ: Environ) -> bool:
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).startswith("AWSStepFunctions.")


def _secret(data: Path | None) -> str:
    """The key that signs requests to this emulation. It is kept beside the data, so that the URL of an upload outlives a restart."""
    if data is None:
        return secrets.token_hex(20)
    path = data / SECRET_FILE
    if not path.exists():
        draft = path.with_name(f"{SECRET_FILE}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(20))
        draft.replace(path)
    return path.read_text()


def _limits() -> Limits:
    """Limits for the emulation: an object may be an upload or the body of a request, with some bytes that the server adds."""
    known = settings.from_environment(os.environ)
    largest = 2 * max(known.upload_limit, known.request_limit, known.answer_limit)
    return Limits(body=largest, bodies=2 * largest)


def definition(path: Path) -> Mapping[str, Any]:
    """A state machine's definition with its placeholders filled in: `${PropagationFunctionArn}` and similar ones, and `${Bucket}`.

    KeyError for any other placeholder.
    """
    functions = {f"{name.title()}FunctionArn": lambdas.arn(name) for name in ("propagation", "processing")}
    values = functions | {"Bucket": NAME}
    filled: Mapping[str, Any] = json.loads(PLACEHOLDER.sub(lambda found: values[found[1]], path.read_text()))
    return filled


def _file(data: Path | None, name: str) -> str | None:
    return str(data / name) if data else None


def _environment(endpoint: str, secret: str, database: dynamodb.Process | None, *, auth: bool) -> dict[str, str]:
    """The settings that the functions have on AWS, and those of boto3: dummy keys, and nothing from the user's own configuration."""
    made = {
        "TABLE": NAME,
        "BUCKET": NAME,
        "STATE_MACHINE": STATE_MACHINE,
        "BUNDLE_STATE_MACHINE": BUNDLE_STATE_MACHINE,
        "AUTH": "on" if auth else "off",
        # One SQLite commit for 100 items instead of one per item: three times as fast on a disk.
        "BULK_WRITES": os.environ.get("BULK_WRITES", "transact"),
        # The emulator shares its two cores with its callers, and never loses a request.
        "READ_TIMEOUT": os.environ.get("READ_TIMEOUT", "60"),
        # The front door already logs each request.
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        # For all other services too: a call to a service that is not emulated fails here and reaches nobody's account.
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ENDPOINT_URL_SFN": endpoint,
    }
    if database:
        made[dynamodb.ENDPOINT] = database.endpoint
        # Whoever has a proxy has told boto3 to pass it by for 127.0.0.1, and could not know this address.
        passed_by = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        made["no_proxy"] = made["NO_PROXY"] = ",".join(
            filter(None, [passed_by, urlsplit(database.endpoint).hostname or ""])
        )
    return made


def _start_dynamodb(data: Path | None) -> dynamodb.Process | None:
    """Starts dynoxide; None if AWS_ENDPOINT_URL_DYNAMODB names another DynamoDB. dynamodb.BinaryMissing, ValueError."""
    named = os.environ.get(dynamodb.ENDPOINT)
    if named is None:
        return dynamodb.start(_file(data, TABLE_FILE))
    if urlsplit(named).scheme not in ("http", "https") or not urlsplit(named).hostname:
        raise ValueError(f"{dynamodb.ENDPOINT} is {named!r}; it must be a URL such as http://127.0.0.1:8001")
    return None
