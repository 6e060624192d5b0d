"""API Gateway events of the routes of the function `resources` (bulkhead.api.routes)."""

from __future__ import annotations

# Imported at start, so that a snapshot of the started function contains it.
import bulkhead.interactions.resources  # noqa: F401
from functions.http import handler as handler
