"""API Gateway events of the routes of the function `jobs` (bulkhead.api.routes)."""

from __future__ import annotations

# Imported at start, so that a snapshot of the started function contains it.
import bulkhead.operations.jobs  # noqa: F401
from functions.http import handler as handler
