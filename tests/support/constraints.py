"""Validation as a site has it that does without some of R4's constraints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bulkhead import settings
from bulkhead.fhir.rules.elements import object_rule
from bulkhead.fhir.rules.invariants import invariants_of


@contextmanager
def without_constraints(keys: str) -> Iterator[None]:
    """Within this context the setting UNCHECKED_INVARIANTS names these; rules are compiled anew before and after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNCHECKED_INVARIANTS", keys)
        _forget()
        yield
    _forget()


def _forget() -> None:
    for cache in (settings.current, invariants_of, object_rule):
        cache.cache_clear()
