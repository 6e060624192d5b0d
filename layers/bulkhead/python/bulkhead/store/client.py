"""boto3's DynamoDB client, with a shorter path for the operations of the hot path.

Measured: botocore's general machinery took four fifths of the CPU of a GetItem, and nine tenths of that of a TransactWriteItems of 100
(it walks the service model twice, and runs JMESPath over every action to find an endpoint). The store speaks DynamoDB's own JSON anyway,
so it writes, signs and sends these operations directly, with botocore's signer and connections; boto3 handles all others.
"""

from __future__ import annotations

import base64
import time
from typing import Any
from uuid import uuid4
from zlib import crc32

import msgspec

from bulkhead.store.capacity import Meter
from bulkhead.store.throttling import CODES, jitter

SHORT = frozenset(
    ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem", "BatchWriteItem", "TransactWriteItems"]
)
_ATTEMPTS = 5
_RETRIED = frozenset(
    [
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        *CODES,
        "LimitExceededException",
        "TransactionInProgressException",
    ]
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class ShortWay:
    """A mixin for the client's class: see boto3's guide on extensibility (`creating-client-class`)."""

    meters: list[Meter]
    meta: Any
    exceptions: Any
    _endpoint: Any
    _request_signer: Any

    def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Any:
        if operation_name not in SHORT or self._request_signer._credentials is None:
            return super()._make_api_call(operation_name, api_params)  # type: ignore[misc]
        if operation_name == "TransactWriteItems":
            # One token for all attempts: DynamoDB performs repeated requests with one token once.
            api_params = {"ClientRequestToken": str(uuid4()), **api_params}
        if self.meters:
            api_params = {**api_params, "ReturnConsumedCapacity": "TOTAL"}
        answer = self._tried(operation_name, _encoder.encode(api_params))
        for meter in tuple(self.meters):
            meter.count(operation_name, answer)
        return answer

    def _tried(self, operation_name: str, body: bytes) -> dict[str, Any]:
        from botocore.exceptions import ConnectionError as Unconnected
        from botocore.exceptions import HTTPClientError

        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                return self._sent(operation_name, body)
            except (Unconnected, HTTPClientError):
                if last:
                    raise
            except self.exceptions.ClientError as error:
                if last or error.response["Error"]["Code"] not in _RETRIED:
                    raise
            time.sleep(jitter(min(1.0, 0.05 * 2**attempt)))
        raise AssertionError("unreachable")

    def _sent(self, operation_name: str, body: bytes) -> dict[str, Any]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation_name}",
            "User-Agent": "bulkhead",
        }
        request = AWSRequest("POST", self.meta.endpoint_url.rstrip("/") + "/", headers, body)
        credentials = self._request_signer._credentials.get_frozen_credentials()
        SigV4Auth(credentials, "dynamodb", self.meta.region_name).add_auth(request)
        prepared = request.prepare()
        # moto answers here, as in every call of boto3.
        mocked = self.meta.events.emit_until_response(f"before-send.dynamodb.{operation_name}", request=prepared)[1]
        response = mocked or self._endpoint.http_session.send(prepared)
        content = response.content
        checksum = response.headers.get("x-amz-crc32")
        if response.status_code == 200 and (checksum is None or int(checksum) == crc32(content)):
            return _with_bytes(_decoder.decode(content))
        raise self._error(operation_name, response.status_code, content)

    def _error(self, operation_name: str, status: int, content: bytes) -> Exception:
        try:
            parsed = _decoder.decode(content)
        except msgspec.DecodeError:
            parsed = {}
        # A wrong checksum, or no JSON at all: a fault of the network or a proxy, worth another attempt.
        code = str(parsed.get("__type", "ServiceUnavailable")).rpartition("#")[2]
        message = parsed.get("message", parsed.get("Message", ""))
        response = {
            **parsed,
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        error: Exception = self.exceptions.from_code(code)(response, operation_name)
        return error


def _with_bytes(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with its binary attributes as bytes: only bodies and the members of transactions are binary."""
    for item in _items(answer):
        for name in ("body", "keys"):
            if name in item and "B" in item[name]:
                item[name] = {"B": base64.b64decode(item[name]["B"])}
    return answer


def _items(answer: dict[str, Any]) -> list[dict[str, Any]]:
    if "Item" in answer:
        return [answer["Item"]]
    if "Responses" in answer:
        return [item for items in answer["Responses"].values() for item in items]
    items: list[dict[str, Any]] = answer.get("Items", [])
    return items


_CONNECT_TIMEOUT = 2


def dynamodb(threads: int, read_timeout: float, **options: Any) -> Any:
    """A client for up to `threads` simultaneous requests; `options` are boto3's, such as `endpoint_url`.

    It repeats a request without an answer after `read_timeout` seconds: botocore's default minute is longer than a function may take.
    """
    import boto3
    from botocore.config import Config

    def mix_in(base_classes: list[type], **_: Any) -> None:
        base_classes.insert(0, ShortWay)

    session = boto3.session.Session()
    session.events.register("creating-client-class.dynamodb", mix_in)
    # The pool must hold a connection for each thread.
    config = Config(
        parameter_validation=False,
        max_pool_connections=threads + 2,
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        tcp_keepalive=True,
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
    )
    client: Any = session.client("dynamodb", config=config, **options)
    client.meters = []
    return client
