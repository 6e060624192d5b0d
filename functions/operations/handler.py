"""API Gateway events of the routes of the function `operations` (bulkhead.api.routes)."""

from __future__ import annotations

# Imported before the first request, so that a snapshot of the started function holds it.
import bulkhead.operations.purge
import bulkhead.operations.set_accounts  # noqa: F401
from functions.http import handler as handler
