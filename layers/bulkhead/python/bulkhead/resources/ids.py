"""Types, ids, and `Type/id`, the key of a resource in the store."""

from __future__ import annotations

import re
from uuid import uuid4

from bulkhead.errors import NotFound
from bulkhead.fhir import definitions, older_versions

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def new_id() -> str:
    return str(uuid4())


def known_type(resource_type: str) -> str:
    """`resource_type`, if R4 has it; NotFound otherwise."""
    if resource_type not in definitions.RESOURCE_TYPES:
        raise NotFound(
            f"{resource_type[:64]} is not a resource type of R4{older_versions.instead_of(resource_type)}", "type"
        )
    return resource_type


def key_of(resource_type: str, identifier: str) -> str:
    """`Type/id`; NotFound for an unknown type or a text that cannot be an id."""
    if not ID.fullmatch(identifier):
        raise NotFound("an id must have 1 to 64 letters, digits, - and .", "id")
    return f"{known_type(resource_type)}/{identifier}"
