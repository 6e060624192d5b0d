"""JSON Patch (RFC 6902) on resources."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bulkhead.errors import BadRequest, BulkheadError, Issue, PayloadTooLarge, Unprocessable, raise_together
from bulkhead.fhir import json
from bulkhead.resources.patches.limits import MOST_COPIED, MOST_OPERATIONS, size

PATCH = "patch"
"""The place that errors name for a fault of the patch as a whole; `patch[2].path` is one of its third operation."""

_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("from", "path"),
    "copy": ("from", "path"),
    "test": ("path", "value"),
}
"""The members that an operation needs (RFC 6902, section 4)."""

_DATA = "Binary.data"
_NOWHERE = "this path of the patch does not exist in the resource"
# jsonpatch and jsonpointer raise these for a step into a string or a number.
_STEPS_INTO_A_VALUE = (TypeError, KeyError, IndexError, ValueError, AttributeError, RecursionError)


def parse(data: bytes) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The patch in a document of type application/json-patch+json. BadRequest with every operation that is none of RFC 6902.

    The patch raises Unprocessable where a `test` fails or a path does not exist; numbers keep their digits.
    """
    operations = json.loads_list(data, PATCH)
    if len(operations) > MOST_OPERATIONS:
        raise BadRequest(f"a patch may have at most {MOST_OPERATIONS} operations", PATCH)
    raise_together(fault for n, operation in enumerate(operations) for fault in _faults(operation, f"{PATCH}[{n}]"))

    def apply(resource: dict[str, Any]) -> dict[str, Any]:
        after: Any = resource
        copied = 0
        for n, operation in enumerate(operations):
            place = f"{PATCH}[{n}]"
            source = _source(after, operation, place) if "from" in _MEMBERS[operation["op"]] else None
            if operation["op"] == "copy":
                # Measured before the copy: a document that is copied into itself doubles each time.
                copied += size(source, MOST_COPIED)
                if copied > MOST_COPIED:
                    message = f"the copy operations of a patch may copy at most {MOST_COPIED} bytes"
                    raise PayloadTooLarge(message, place)
            after = _applied(operation, after, place)
        if not isinstance(after, dict):
            raise Unprocessable("the result of the patch is not a resource", PATCH)
        return after

    return apply


def _faults(operation: Any, place: str) -> Iterator[BadRequest]:
    """What keeps an operation from being one of RFC 6902, section 4."""
    if not isinstance(operation, dict):
        yield BadRequest("an operation of a JSON Patch must be an object", place)
        return
    op = operation.get("op")
    if not isinstance(op, str) or op not in _MEMBERS:
        yield BadRequest(f"op must be one of {', '.join(_MEMBERS)}", f"{place}.op")
        return
    for member in _MEMBERS[op]:
        if member not in operation:
            yield BadRequest(f"the operation {op} must have a {member}", f"{place}.{member}")
        elif member != "value" and not _is_pointer(operation[member]):
            yield BadRequest(
                f"{member} must be a JSON Pointer (RFC 6901): /name/0/family, or empty for the whole resource",
                f"{place}.{member}",
            )


def _is_pointer(text: Any) -> bool:
    import jsonpointer

    try:
        jsonpointer.JsonPointer(text)
    except (jsonpointer.JsonPointerException, TypeError, ValueError):
        return False
    return True


def _applied(operation: dict[str, Any], resource: Any, place: str) -> Any:
    """The resource after one operation. Unprocessable."""
    import jsonpatch

    try:
        return jsonpatch.JsonPatch([operation]).apply(resource, in_place=True)
    except jsonpatch.JsonPatchTestFailed:
        raise Unprocessable("this test of the patch failed: the resource has another value, or none", place) from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        raise Unprocessable(_NOWHERE, f"{place}.path") from None
    except _STEPS_INTO_A_VALUE:
        raise Unprocessable("this operation of the patch does not fit the resource", place) from None


def _source(resource: Any, operation: dict[str, Any], place: str) -> Any:
    """What `from` of an operation leads to; the operation takes it away, so nobody can look later. Unprocessable where it leads nowhere."""
    import jsonpointer

    try:
        return jsonpointer.resolve_pointer(resource, operation["from"])
    except (jsonpointer.JsonPointerException, *_STEPS_INTO_A_VALUE):
        raise Unprocessable(_NOWHERE, f"{place}.from") from None


def from_binary(binary: dict[str, Any], expected: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The patch in a valid Binary, whose content type must be `expected`. BadRequest."""
    if str(binary["contentType"]).partition(";")[0].strip().lower() != expected:
        raise BadRequest(f"a Binary with a patch must have the content type {expected}", "Binary.contentType")
    try:
        data = base64.b64decode(binary.get("data", ""))
    except binascii.Error:
        raise BadRequest("the data is not base64", _DATA) from None
    change = _within_data(parse, data)
    return lambda resource: _within_data(change, resource)


def _within_data(step: Callable[[Any], Any], argument: Any) -> Any:
    """Calls `step`; an error is about the Binary's data, and its text names the place in there: FHIRPath does not lead into base64."""
    try:
        return step(argument)
    except BulkheadError as error:
        error.issues = tuple(
            Issue(issue.code, f"{issue.expression}: {issue.diagnostics}", _DATA, issue.severity)
            if (issue.expression or "").startswith(PATCH)
            else issue
            for issue in error.issues
        )
        raise
