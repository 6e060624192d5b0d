"""What differs between deployments: one context key each, by `cdk deploy -c key=value` or in cdk.json."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bulkhead.access.shared_types import shared_types
from bulkhead.audit import recording
from bulkhead.compartments import private
from bulkhead.settings import Settings, from_environment

# What the stack itself makes: no deployment chooses it.
_MADE_HERE = frozenset(
    [
        "AUTH",
        "BASE_URL",
        "BUCKET",
        "ISSUER",
        "JWKS_URI",
        "AUTHORIZATION_ENDPOINT",
        "TOKEN_ENDPOINT",
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
SETTINGS = tuple(sorted({each.name.upper() for each in fields(Settings)} - _MADE_HERE))
"""Settings of `bulkhead.settings` that a deployment may choose: `cdk deploy -c AUDIT=off -c SYNC_LIMIT=500`."""


class Context(Protocol):
    """A CDK construct node, as far as it is used here."""

    def try_get_context(self, key: str) -> Any: ...

    def get_all_context(self) -> Any: ...


class Deployment(BaseModel):
    """Field `log_days` is the context key `log_days`, and so on. All values are text on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("Bulkhead", min_length=1)
    """CloudFormation stack."""
    data: Literal["retain", "destroy"] = "retain"
    """`retain`: table and bucket outlive the stack, the table refuses deletion. `destroy`: both go with it."""
    issuer: str = ""
    """URL of the OIDC issuer whose tokens are accepted. Empty: the stack makes a Cognito user pool."""
    audience: str = ""
    """With `issuer`: the accepted `aud` (or `client_id`) values, separated by commas."""
    base_url: str = ""
    """What clients call, where a custom domain stands in front. Empty: the API's own host."""
    snapstart: Literal["on", "off"] = "on"
    """`off` deploys functions without published versions, for emulators and regions that have no SnapStart."""
    layers: Literal["build", "skip", "host"] = "build"
    """`skip` takes source folders as they are: for a synthesis that needs no network, never for a deployment.
    `host` takes packages for this machine and this Python: for an emulator that runs the functions here."""
    log_days: int = 90
    """How long logs are kept: one of CloudWatch's retention periods."""
    request_rate: int = Field(500, ge=1)
    """Requests a second that the API accepts, over all clients; twice as many in a burst."""
    alarm_topic: str = ""
    """ARN of the SNS topic that alarms notify."""
    settings: Mapping[str, str] = Field(default_factory=dict)
    """Settings of `bulkhead.settings` by their variable, where they are not the default."""

    @field_validator("log_days")
    @classmethod
    def _known_to_cloudwatch(cls, days: int) -> int:
        if days not in _RETENTION:
            raise ValueError(f"it has to be one of {', '.join(map(str, _RETENTION))}")
        return days

    @model_validator(mode="after")
    def _issuer_with_audience(self) -> Deployment:
        if bool(self.issuer) != bool(self.audience):
            raise ValueError("context issuer and audience go together")
        return self

    @property
    def retained(self) -> bool:
        return self.data == "retain"

    @property
    def audiences(self) -> list[str]:
        return [value.strip() for value in self.audience.split(",") if value.strip()]


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
    try:
        return Deployment(**{name: value for name, value in said.items() if name not in SETTINGS}, settings=chosen)
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(each) for each in error.errors())) from None


def _sentence(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"context {error['loc'][0]} is {error['input']!r}: {message}" if error["loc"] else message
