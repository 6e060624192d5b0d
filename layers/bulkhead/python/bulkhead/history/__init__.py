"""History of one resource, of a type, and of the whole system (R4 http.html#history); pollers follow it by links.

`query` parses the parameters, `listing` lists versions by time, `paging` makes pages, `cursor` encodes the place in their links.
"""

from __future__ import annotations

from bulkhead.history.paging import Page, page
from bulkhead.history.query import Query, parse

__all__ = ["Page", "Query", "page", "parse"]
