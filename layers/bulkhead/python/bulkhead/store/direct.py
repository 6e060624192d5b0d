"""A DynamoDB client that only has the short way, with a signer and connections of its own.

It needs none of boto3's factory, which reads the models of the service first, nor of botocore's layers between a request and its socket
(see `connections` for what that saves). It serves where the environment alone gives endpoint and credentials, as Lambda's does. Otherwise,
and for operations without a short way, boto3's client is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property, wraps
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions

from bulkhead.store import signing
from bulkhead.store.capacity import Meter
from bulkhead.store.connections import Connections, Response
from bulkhead.store.short_way import AGENT, SHORT, TARGET, ShortWay

# Variables that botocore would respect, and this client does not support.
_UNUSUAL = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
# Variables about the connection to another machine.
_ON_THE_WAY = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
# All of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3).
_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}|localhost|::1")
# Regions whose endpoints have, or may have, other names.
_OTHER_PARTITIONS = ("cn-", "us-iso", "us-gov-", "eu-isoe-", "eusc-")
_METHODS = {
    "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]: name for name in SHORT
}
# The host of a request leaves out the port that the scheme implies.
_IMPLIED = {"http": 80, "https": 443}


@cache
def _error_class(code: str) -> type[exceptions.ClientError]:
    return type(code, (exceptions.ClientError,), {})


class _Exceptions:
    """Error classes by code, as in boto3's clients."""

    ClientError = exceptions.ClientError

    def from_code(self, code: str) -> type[exceptions.ClientError]:
        return _error_class(code)

    def __getattr__(self, name: str) -> type[exceptions.ClientError]:
        return _error_class(name)


def _with_own_errors(call: Callable[..., Any]) -> Callable[..., Any]:
    """A method of boto3's client, whose error classes are its own: whoever catches those of a `DirectClient` is to catch these too."""

    @wraps(call)
    def called(*arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            raise _error_class(code)(error.response, error.operation_name) from error

    return called


class _Full:
    """The end of the method resolution: boto3's client performs operations without a short way."""

    _make_full: Callable[[], Any]

    @cached_property
    def _full(self) -> Any:
        return self._make_full()

    def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Any:
        return self._full._make_api_call(operation_name, api_params)


class DirectClient(ShortWay, _Full):
    """The methods of boto3's client."""

    def __init__(
        self, endpoint: str, region: str, credentials: Any, *, connections: Connections, make_full: Callable[[], Any]
    ) -> None:
        self._make_full = make_full
        self._request_signer = SimpleNamespace(_credentials=credentials)
        self._connections, self._host = connections, _host(endpoint)
        self.meta = SimpleNamespace(endpoint_url=endpoint, region_name=region)
        self.exceptions = _Exceptions()
        self.meters: list[Meter] = []

    def __getattr__(self, name: str) -> Any:
        operation = _METHODS.get(name)
        if operation is None:
            found = getattr(self._full, name)
            return _with_own_errors(found) if callable(found) else found
        return lambda **arguments: self._make_api_call(operation, arguments)

    def _send(self, operation_name: str, body: bytes) -> Response:
        headers = signing.headers(
            f"{TARGET}.{operation_name}",
            body,
            host=self._host,
            region=self.meta.region_name,
            credentials=self._request_signer._credentials.get_frozen_credentials(),
        )
        return self._connections.post({**headers, "user-agent": AGENT, "accept-encoding": "identity"}, body)


def client(
    environment: Mapping[str, str],
    *,
    connections: int,
    timeout: tuple[float, float],
    endpoint_url: str | None,
    make_full: Callable[[], Any],
) -> DirectClient | None:
    """A client with `connections` connections and a `timeout` to connect and to read, in seconds.

    None if the `environment` does not say enough, or more than this client supports. `make_full` makes boto3's.
    """
    region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    if not region or region.startswith(_OTHER_PARTITIONS):
        return None
    given = endpoint_url or environment.get("AWS_ENDPOINT_URL_DYNAMODB") or environment.get("AWS_ENDPOINT_URL")
    endpoint = given or f"https://dynamodb.{region}.amazonaws.com"
    parts = urlsplit(endpoint)
    if parts.scheme not in _IMPLIED or parts.username is not None or parts.path.strip("/") or parts.query:
        return None
    is_here = _LOOPBACK.fullmatch(parts.hostname or "") is not None
    if any(_is_set(environment, name) for name in (_UNUSUAL if is_here else (*_UNUSUAL, *_ON_THE_WAY))):
        return None
    credentials = _credentials(environment)
    if credentials is None:
        return None
    return DirectClient(
        endpoint,
        region,
        credentials,
        connections=Connections(endpoint, kept=connections, timeout=timeout),
        make_full=make_full,
    )


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable asks for anything. The local server names the empty device as the file of settings, so that nobody's own counts."""
    return environment.get(name, "") not in ("", os.devnull)


def _host(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{name}:{parts.port}" if parts.port not in (None, _IMPLIED[parts.scheme]) else f"{name}"


def _credentials(environment: Mapping[str, str]) -> Any:
    """The credentials in the environment; or, as under SnapStart, renewable ones from the endpoint that it names. None if it has neither."""
    from botocore.credentials import ContainerProvider, EnvProvider

    if environment.get("AWS_ACCESS_KEY_ID") and environment.get("AWS_SECRET_ACCESS_KEY"):
        return EnvProvider(environment).load()
    return ContainerProvider(environment).load()
