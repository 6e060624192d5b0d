"""What differs between deployments: one context key each, by `cdk deploy -c key=value` or in cdk.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from bulkhead import audit
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
SETTINGS = tuple(sorted({each.name.upper() for each in fields(Settings)} - _MADE_HERE))
"""Settings of `bulkhead.settings` that a deployment may choose: `cdk deploy -c AUDIT=off -c SYNC_LIMIT=500`."""


class Context(Protocol):
    """A CDK construct node, as far as it is used here."""

    def try_get_context(self, key: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Deployment:
    """Field `log_days` is the context key `log_days`, and so on. All values are text on the command line."""

    name: str = "Bulkhead"
    """CloudFormation stack."""
    data: str = "retain"
    """`retain`: table and bucket outlive the stack, the table refuses deletion. `destroy`: both go with it."""
    issuer: str = ""
    """URL of the OIDC issuer whose tokens are accepted. Empty: the stack makes a Cognito user pool."""
    audience: str = ""
    """With `issuer`: the accepted `aud` (or `client_id`) values, separated by commas."""
    base_url: str = ""
    """What clients call, where a custom domain stands in front. Empty: the API's own host."""
    snapstart: str = "on"
    """`off` deploys functions without published versions, for emulators and regions that have no SnapStart."""
    layers: str = "build"
    """`skip` takes source folders as they are: for a synthesis that needs no network, never for a deployment.
    `host` takes packages for this machine and this Python: for an emulator that runs the functions here."""
    log_days: int = 90
    """How long logs are kept: one of CloudWatch's retention periods."""
    request_rate: int = 500
    """Requests a second that the API accepts, over all clients; twice as many in a burst."""
    alarm_topic: str = ""
    """ARN of the SNS topic that alarms notify."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of `bulkhead.settings` by their variable, where they are not the default."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"context {name} must be one of {', '.join(allowed)}")
        if bool(self.issuer) != bool(self.audience):
            raise ValueError("context issuer and audience go together")

    @property
    def retained(self) -> bool:
        return self.data == "retain"

    @property
    def audiences(self) -> list[str]:
        return [value.strip() for value in self.audience.split(",") if value.strip()]


_CHOICES = {
    "data": ("retain", "destroy"),
    "snapstart": ("on", "off"),
    "layers": ("build", "skip", "host"),
}


def from_context(node: Context) -> Deployment:
    """The deployment that the context describes. ValueError where a value is not one that its field allows."""
    values: dict[str, Any] = {}
    for each in fields(Deployment):
        value = node.try_get_context(each.name)
        if value is not None and each.name != "settings":
            values[each.name] = int(value) if isinstance(each.default, int) else str(value)
    chosen = {name: str(value) for name in SETTINGS if (value := node.try_get_context(name)) is not None}
    audit.policy(from_environment(chosen).audit)
    return Deployment(**values, settings=chosen)
