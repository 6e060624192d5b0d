"""API Gateway events of the routes of the function `bundles` (bulkhead.api.routes)."""

from __future__ import annotations

# Imported before the first request, so that a snapshot of the started function holds it.
import bulkhead.interactions.bundle  # noqa: F401
from functions.http import handler as handler
