"""Calls in parallel: their order, threads, contexts and errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from bulkhead.parallel import in_context, in_parallel

request: ContextVar[str] = ContextVar("request", default="none")


@pytest.mark.parametrize("number", range(4))
def test_results_come_in_the_order_of_the_arguments(number: int) -> None:
    expected = [str(each) for each in range(number)]
    with ThreadPoolExecutor(2) as pool:
        assert in_context(pool, str, range(number)) == expected
    assert in_parallel(str, range(number), 2) == expected


def test_each_call_has_a_copy_of_the_context() -> None:
    """Also the first, which runs in the thread of the request."""

    def call(name: str) -> tuple[str, bool]:
        found = request.get()
        request.set(name)
        return found, threading.current_thread() is here

    here = threading.current_thread()
    token = request.set("mine")
    try:
        with ThreadPoolExecutor(1) as pool:
            found = in_context(pool, call, ["a", "b", "c"])
        assert found == [("mine", True), ("mine", False), ("mine", False)]
        assert request.get() == "mine"
    finally:
        request.reset(token)


@pytest.mark.parametrize("failing", ["a", "b", "c"])
def test_the_first_error_is_raised(failing: str) -> None:
    def call(name: str) -> str:
        if name >= failing:
            raise ValueError(name)
        return name

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match=failing):
        in_context(pool, call, ["a", "b", "c"])


def test_after_an_error_nothing_else_begins() -> None:
    begun: list[str] = []
    blocked = threading.Event()

    def call(name: str) -> None:
        begun.append(name)
        if name == "first":
            raise ValueError(name)
        blocked.wait(30)

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(blocked.wait, 30)
        with pytest.raises(ValueError, match="first"):
            in_context(pool, call, ["first", "second", "third"])
        blocked.set()
        assert busy.result()
    assert begun == ["first"]
