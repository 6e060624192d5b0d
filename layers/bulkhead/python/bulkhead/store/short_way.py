"""A short way for the DynamoDB operations of the hot path.

Measured: botocore's general machinery took four fifths of the CPU of a GetItem, and nine tenths of that of a TransactWriteItems of 100
(it walks the service model twice, and runs JMESPath over every action to find an endpoint). The store speaks DynamoDB's own JSON anyway,
so it writes, signs and sends these operations directly, with botocore's signer and connections; boto3 handles all others.
"""

from __future__ import annotations

import time
from binascii import a2b_base64
from typing import Any
from uuid import uuid4
from zlib import crc32

import msgspec

from bulkhead.store import capacity
from bulkhead.store.capacity import Meter
from bulkhead.store.throttling import CODES, is_over, jitter
from bulkhead.store.timeouts import ATTEMPTS

SHORT = frozenset(
    [
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "Query",
        "BatchGetItem",
        "BatchWriteItem",
        "BatchExecuteStatement",
        "TransactWriteItems",
    ]
)
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

TARGET, AGENT = "DynamoDB_20120810", "bulkhead"
"""The beginning of an operation's name, and the name of the sender, in the headers of a request."""

# Only bodies and the members of transactions are binary.
_BINARY = ("body", "keys")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class ShortWay:
    """A mixin that comes before boto3's client among the base classes of a client: see `client` and `direct`."""

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
        own = capacity.current()
        meters = (*self.meters, own) if own else tuple(self.meters)
        if meters:
            api_params = {**api_params, "ReturnConsumedCapacity": "TOTAL"}
        answer = self._tried(operation_name, _encoder.encode(api_params))
        for meter in meters:
            meter.count(operation_name, answer)
        return answer

    def _tried(self, operation_name: str, body: bytes) -> dict[str, Any]:
        from botocore.exceptions import ConnectionError as Unconnected
        from botocore.exceptions import HTTPClientError

        for attempt in range(ATTEMPTS):
            try:
                return self._sent(operation_name, body)
            except (Unconnected, HTTPClientError):
                if attempt == ATTEMPTS - 1 or is_over():
                    raise
            except self.exceptions.ClientError as error:
                if attempt == ATTEMPTS - 1 or is_over() or error.response["Error"]["Code"] not in _RETRIED:
                    raise
            time.sleep(jitter(min(1.0, 0.05 * 2**attempt)))
        raise AssertionError("unreachable")

    def _sent(self, operation_name: str, body: bytes) -> dict[str, Any]:
        response = self._send(operation_name, body)
        content = response.content
        checksum = response.headers.get("x-amz-crc32")
        if response.status_code == 200 and (checksum is None or int(checksum) == crc32(content)):
            return _with_bytes(_decoder.decode(content))
        raise self._error(operation_name, response.status_code, content)

    def _send(self, operation_name: str, body: bytes) -> Any:
        """The response to one attempt, with `status_code`, `headers` and `content`: by botocore's signer and connections."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"{TARGET}.{operation_name}",
            "User-Agent": AGENT,
        }
        request = AWSRequest("POST", self.meta.endpoint_url.rstrip("/") + "/", headers, body)
        credentials = self._request_signer._credentials.get_frozen_credentials()
        SigV4Auth(credentials, "dynamodb", self.meta.region_name).add_auth(request)
        prepared = request.prepare()
        return self._mocked(operation_name, prepared) or self._endpoint.http_session.send(prepared)

    def _mocked(self, operation_name: str, prepared: Any) -> Any:
        """The answer of moto, which takes part here as in every call of boto3."""
        return self.meta.events.emit_until_response(f"before-send.dynamodb.{operation_name}", request=prepared)[1]

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
    """The answer with its binary attributes as bytes."""
    for item in _items(answer):
        for name in _BINARY:
            if name in item and "B" in (value := item[name]):
                value["B"] = a2b_base64(value["B"])
    return answer


def _items(answer: dict[str, Any]) -> list[dict[str, Any]]:
    if "Item" in answer:
        return [answer["Item"]]
    responses = answer.get("Responses")
    if isinstance(responses, dict):
        return [item for items in responses.values() for item in items]
    items: list[dict[str, Any]] = answer.get("Items", [])
    return items
