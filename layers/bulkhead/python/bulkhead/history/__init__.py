"""History of one resource, of a type, and of the whole system (R4 http.html#history); and how a poller follows it.

`query` reads the parameters, `listing` lists versions by time, `paging` makes pages of them, `cursor` is what their links carry.
"""

from __future__ import annotations

from bulkhead.history.paging import Page, page
from bulkhead.history.query import Query, parse

__all__ = ["Page", "Query", "page", "parse"]
