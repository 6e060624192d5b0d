"""Objects that are not there, and objects that S3 refuses to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bulkhead.settings import Settings
from bulkhead.store import files


class Refusing:
    """An S3 client that answers everything with one error."""

    def __init__(self, code: str) -> None:
        self._code = code

    def get_object(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": self._code}}, "GetObject")

    head_object = get_object


@dataclass
class Fake:
    """As much of a store as files need."""

    s3: Refusing
    settings: Settings = field(default_factory=Settings)


@pytest.mark.parametrize("look", [files.get, files.find])
@pytest.mark.parametrize("code", ["404", "NoSuchKey", "NotFound"])
def test_what_is_not_there(look: Callable[..., Any], code: str) -> None:
    assert look(Fake(Refusing(code)), "results/x") is None


@pytest.mark.parametrize("look", [files.get, files.find])
@pytest.mark.parametrize("code", ["403", "AccessDenied", "KMS.DisabledException", "SlowDown"])
def test_what_cannot_be_seen_is_not_taken_for_what_is_not_there(look: Callable[..., Any], code: str) -> None:
    """A right that a role lost must not look like a job without an answer."""
    with pytest.raises(ClientError):
        look(Fake(Refusing(code)), "results/x")
