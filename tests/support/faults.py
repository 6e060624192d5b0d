"""A DynamoDB client that fails or kills at its n-th call, before or after the call has taken effect."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import EndpointConnectionError


class Killed(BaseException):
    """The process died here: no handler of the code under test runs."""


class Failing:
    """Wraps a client. Call number `at` (from 0) raises `error`; `after`: once the call has been made, its answer lost."""

    def __init__(self, client: Any, at: int, error: BaseException, after: bool = False, for_ever: bool = False) -> None:
        self._client, self._at, self._error, self._after, self._for_ever = client, at, error, after, for_ever
        self.calls = 0
        self.exceptions = client.exceptions
        self.struck = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def counted(**arguments: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if number != self._at and not (self._for_ever and number > self._at):
                return call(**arguments)
            self.struck = True
            if self._after and number == self._at:
                call(**arguments)
            raise self._error

        return counted


def killed() -> Killed:
    return Killed("killed")


def unreachable() -> EndpointConnectionError:
    return EndpointConnectionError(endpoint_url="http://127.0.0.1")
