"""What differs between deployments: one context key each, by `cdk deploy -c key=value` or in cdk.json."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from bulkhead.access.shared_types import shared_types
from bulkhead.audit import recording
from bulkhead.compartments import private
from bulkhead.fhir.rules import invariants
from bulkhead.settings import Settings, from_environment

# What the stack itself makes: no deployment chooses it.
_MADE_HERE = frozenset(
    [
        "AUTH",
        "BASE_URL",
        "BUCKET",
        "ISSUER",
        "STATE_MACHINE",
        "BUNDLE_STATE_MACHINE",
        "AUDIENCE",
        "TABLE",
    ]
)
# Of the CDK itself: `@aws-cdk/...`, `aws:cdk:...`, and what it looked up, such as `availability-zones:account=...`.
_FOREIGN = (":", "@")
# CloudWatch's retention periods, in days.
_RETENTION = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
# Units a second that an on-demand table serves from the start.
_NEW_TABLE = {"warm_reads": 12_000, "warm_writes": 4_000}
# Functions that `worker_concurrency` reserves for each, and what Lambda keeps for all that reserve nothing.
RESERVING, UNRESERVED = 2, 100
SETTINGS = tuple(sorted({each.name.upper() for each in fields(Settings)} - _MADE_HERE))
"""Settings of `bulkhead.settings` that a deployment may choose: `cdk deploy -c AUDIT=off -c SYNC_LIMIT=500`."""


class Context(Protocol):
    """A CDK construct node, as far as it is used here."""

    def try_get_context(self, key: str) -> Any: ...

    def get_all_context(self) -> Any: ...


class Deployment(BaseModel):
    """Field `log_days` is the context key `log_days`, and so on. All values are text on the command line.

    What costs money while nobody calls is off by default: SnapStart, alarms, a key of one's own, tracing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(pattern="^https?://[^/]")
    """URL of the OIDC issuer whose tokens are accepted, exactly as the claim `iss` has it. Its discovery document tells where clients get tokens,
    but for the settings JWKS_URI, AUTHORIZATION_ENDPOINT and TOKEN_ENDPOINT that a deployment gives itself."""
    audience: str = Field(min_length=1)
    """The accepted `aud` (or `client_id`) values, separated by commas."""
    name: str = Field(default="Bulkhead", pattern="^[A-Za-z][A-Za-z0-9-]{0,99}$")
    """CloudFormation stack of the service. The data have one of their own, whose name ends in `Data`."""
    stacks: Literal["two", "one"] = "two"
    """`one` puts the data into the stack of the service."""
    data: Literal["retain", "destroy"] = "retain"
    """`retain`: table and bucket outlive their stack, the table refuses deletion. `destroy`: both go with it."""
    table: str = ""
    """With `bucket`: the name of a table that is there, restored or retained. No stack of data is made."""
    bucket: str = ""
    """With `table`: the name of the bucket that belongs to it."""
    key: str = ""
    """Customer KMS key for table, bucket and alarms: `create`, or the ARN of one. Empty: AWS's own keys, which cost nothing."""

    base_url: str = ""
    """What clients call, where a custom domain stands in front. Empty: the API's own host."""
    snapstart: Literal["on", "off"] = "off"
    """`on` publishes versions with snapshots of started functions: fast cold starts, for the price of a cache by GB and hour."""
    layers: Literal["build", "skip", "host"] = "build"
    """`skip` takes source folders as they are: for a synthesis that needs no network, never for a deployment.
    `host` takes packages for this machine and this Python: for an emulator that runs the functions here."""
    log_days: int = 90
    """How long logs are kept: one of CloudWatch's retention periods."""
    tracing: Literal["on", "off"] = "off"
    """`on` traces functions and state machines by X-Ray."""

    request_rate: int = Field(default=500, ge=1)
    """Requests a second that the API accepts, over all clients; twice as many in a burst."""
    public_rate: int = Field(default=20, ge=1)
    """The same of each route that needs no token."""
    worker_concurrency: int = Field(default=0, ge=0)
    """Workers at once of all propagations together, and as many of all bundles in the background. Reserved: the account's quota of concurrent
    executions must leave 100 besides. 0: only each job by itself is bounded."""
    warm_reads: int = Field(default=0, ge=0)
    """Read units a second that the table and each index serve at once (WarmThroughput, from 12,000 on). 0: what DynamoDB starts with."""
    warm_writes: int = Field(default=0, ge=0)
    """Write units a second that the table and each index serve at once (from 4,000 on)."""

    check_segments: int = Field(default=0, ge=0, le=100)
    """Segments in which the integrity check goes through the whole table each night, side by side. 0: so many pages a day by INTEGRITY_PAGES."""

    alarm_email: str = Field(default="", pattern="^$|^[^@ ]+@[^@ ]+$")
    """Address that alarms notify, by a topic that the stack makes. Without it and `alarm_topic` there are no alarms."""
    alarm_topic: str = Field(default="", pattern="^$|^arn:")
    """ARN of an SNS topic that alarms notify."""
    concurrency_quota: int = Field(default=1000, ge=10)
    """The account's quota of concurrent executions: an alarm tells when four fifths are used, and nothing is deployed that does not fit."""

    settings: Mapping[str, str] = Field(default_factory=dict)
    """Settings of `bulkhead.settings` by their variable, where they are not the default."""

    @field_validator("log_days")
    @classmethod
    def _known_to_cloudwatch(cls, days: int) -> int:
        if days not in _RETENTION:
            raise ValueError(f"it has to be one of {', '.join(map(str, _RETENTION))}")
        return days

    @field_validator("warm_reads", "warm_writes")
    @classmethod
    def _more_than_a_new_table_has(cls, units: int, about: ValidationInfo) -> int:
        least = _NEW_TABLE[str(about.field_name)]
        if 0 < units < least:
            raise ValueError(f"a new table serves {least} at once already: give 0, or more")
        return units

    @field_validator("key")
    @classmethod
    def _made_or_named(cls, key: str) -> str:
        if key not in ("", "create") and not re.fullmatch(r"arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+", key):
            raise ValueError("it has to be create, or the ARN of a KMS key (no alias)")
        return key

    @model_validator(mode="after")
    def _together(self) -> Deployment:
        if bool(self.table) != bool(self.bucket):
            raise ValueError("context table and bucket go together")
        if bool(self.warm_reads) != bool(self.warm_writes):
            raise ValueError("context warm_reads and warm_writes go together")
        if self.table and self.key == "create":
            raise ValueError(
                "context key is 'create': a table that is there has its key already, so give the ARN of it"
            )
        if self.table and self.warm_reads:
            raise ValueError("context warm_reads is for a table that the stack makes: warm yours by UpdateTable")
        if self.alarm_email and self.alarm_topic:
            raise ValueError("context alarm_email and alarm_topic are two ways of one thing: give one")
        return self

    @model_validator(mode="after")
    def _within_the_quota(self) -> Deployment:
        """Lambda refuses a reservation that is too large only in the middle of a deployment, which then rolls back."""
        reserved = RESERVING * self.worker_concurrency
        if reserved and reserved + UNRESERVED > self.concurrency_quota:
            raise ValueError(
                f"context worker_concurrency is {self.worker_concurrency}: two functions reserve as many each, and Lambda keeps "
                f"{UNRESERVED} of the account's quota for all others; with concurrency_quota={self.concurrency_quota} give "
                f"{max(0, self.concurrency_quota - UNRESERVED) // RESERVING} at most"
            )
        if self.check_segments > (self.concurrency_quota - reserved) // 2:
            raise ValueError(
                f"context check_segments is {self.check_segments}: it would take more than half of the concurrent executions that the account "
                f"has (concurrency_quota={self.concurrency_quota}), for hours; give {(self.concurrency_quota - reserved) // 2} at most"
            )
        return self

    @property
    def retained(self) -> bool:
        return self.data == "retain"

    @property
    def audiences(self) -> list[str]:
        return [value.strip() for value in self.audience.split(",") if value.strip()]

    @property
    def alarmed(self) -> bool:
        """Whether somebody is told: an alarm that nobody hears only costs."""
        return bool(self.alarm_email or self.alarm_topic)


def from_context(node: Context) -> Deployment:
    """The deployment that the context describes. ValueError for a key that there is not, and for a value that its key does not allow."""
    known = set(Deployment.model_fields) - {"settings"} | set(SETTINGS)
    for key in node.get_all_context():
        if key in _MADE_HERE:
            raise ValueError(f"context {key} is nothing to choose: the stack itself sets it")
        if key not in known and not any(mark in key for mark in _FOREIGN):
            near = difflib.get_close_matches(key, known, 1)
            raise ValueError(f"there is no context {key}" + (f"; {near[0]} may be meant" if near else ""))
    said = {name: value for name in known if (value := node.try_get_context(name)) is not None}
    chosen = {name: str(value) for name, value in said.items() if name in SETTINGS}
    settings = from_environment(chosen)
    recording.policy(settings.audit)
    private.criteria(settings.private)
    shared_types(settings.shared_types)
    invariants.unchecked(settings.unchecked_invariants)
    try:
        return Deployment(**{name: value for name, value in said.items() if name not in SETTINGS}, settings=chosen)
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(each) for each in error.errors())) from None


def _sentence(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    key = error["loc"][0]
    if error["type"] == "missing":
        return f"context {key} is needed: {_NEEDED[key]}"
    return f"context {key} is {error['input']!r}: {message}"


_NEEDED = {
    "issuer": "the URL of the OIDC issuer whose tokens are accepted, -c issuer=https://... (docs/operations/identity.md)",
    "audience": "the audience that its tokens name, -c audience=... (docs/operations/identity.md)",
}
