"""API Gateway events of the routes of the function `capabilities` (bulkhead.api.routes)."""

from __future__ import annotations

# Imported at start, so that a snapshot of the started function contains it.
import bulkhead.operations.metadata  # noqa: F401
from functions.http import handler as handler
