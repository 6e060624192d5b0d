"""JSON Patch (RFC 6902) on resources."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from bulkhead.errors import BadRequest, PayloadTooLarge, Unprocessable
from bulkhead.fhir import json
from bulkhead.resources.patches.limits import MOST_COPIED, MOST_OPERATIONS, size


def parse(data: bytes) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The patch in a document of type application/json-patch+json. BadRequest if it is not a JSON Patch.

    The patch raises Unprocessable where a `test` fails or a path does not exist; numbers keep their digits.
    """
    import jsonpatch
    import jsonpointer

    operations = json.loads_list(data, "patch")
    if len(operations) > MOST_OPERATIONS:
        raise BadRequest(f"a patch may have at most {MOST_OPERATIONS} operations", "patch")
    if not all(isinstance(operation, dict) for operation in operations):
        raise BadRequest("a JSON Patch must be an array of operations, each an object", "patch")
    try:
        jsonpatch.JsonPatch(operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, ValueError):
        raise BadRequest(
            "this is not a JSON Patch (RFC 6902): check op, path, value and from of its operations", "patch"
        ) from None

    def apply(resource: dict[str, Any]) -> dict[str, Any]:
        after: Any = resource
        copied = 0
        try:
            for n, operation in enumerate(operations):
                if operation["op"] == "copy":
                    # Measured before the copy: a document that is copied into itself doubles each time.
                    source = jsonpointer.resolve_pointer(after, operation["from"])
                    copied += size(source, MOST_COPIED)
                    if copied > MOST_COPIED:
                        message = f"the copy operations of a patch may copy at most {MOST_COPIED} bytes"
                        raise PayloadTooLarge(message, f"patch[{n}]")
                after = jsonpatch.JsonPatch([operation]).apply(after, in_place=True)
        except jsonpatch.JsonPatchTestFailed:
            raise Unprocessable("a test operation of the patch failed", "patch") from None
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            raise Unprocessable(
                "an operation of the patch has a path that does not exist in the resource", "patch"
            ) from None
        except (TypeError, KeyError, IndexError, ValueError, AttributeError, RecursionError):
            # jsonpatch raises these for a step into a string or a number.
            raise Unprocessable("an operation of the patch does not fit the resource", "patch") from None
        if not isinstance(after, dict):
            raise Unprocessable("the result of the patch is not a resource", "patch")
        return after

    return apply


def from_binary(binary: dict[str, Any], expected: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The patch in a valid Binary, whose content type must be `expected`. BadRequest."""
    if str(binary["contentType"]).partition(";")[0].strip().lower() != expected:
        raise BadRequest(f"a Binary with a patch must have the content type {expected}", "Binary.contentType")
    try:
        return parse(base64.b64decode(binary.get("data", "")))
    except binascii.Error:
        raise BadRequest("the data is not base64", "Binary.data") from None
