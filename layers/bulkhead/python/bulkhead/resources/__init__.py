"""Single resources: their form for a client, the preparation of their writes, and the interactions (R4 http.html).

Bundles prepare their writes by the same functions.
"""

from __future__ import annotations

from bulkhead.resources.commit import commit, require_allowed
from bulkhead.resources.ids import ID, key_of, known_type, new_id
from bulkhead.resources.interactions import create, delete, patch, read, read_version, update
from bulkhead.resources.preparation import checked, inherit, prepare_create, prepare_delete, prepare_update
from bulkhead.resources.representation import represent, splice, stored
from bulkhead.store.preconditions import version_of

__all__ = [
    "ID",
    "checked",
    "commit",
    "create",
    "delete",
    "inherit",
    "key_of",
    "known_type",
    "new_id",
    "patch",
    "prepare_create",
    "prepare_delete",
    "prepare_update",
    "read",
    "read_version",
    "represent",
    "require_allowed",
    "splice",
    "stored",
    "update",
    "version_of",
]
