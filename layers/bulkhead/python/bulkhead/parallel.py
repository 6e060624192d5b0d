"""Requests to the store side by side, and in portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(call: Callable[[T], R], arguments: Sequence[T], threads: int) -> list[R]:
    """`call` on each, in threads of its own, so that it may use the store's.

    Each call is in the context of the request: what that has decided of a large transaction holds for all.
    """
    if len(arguments) < 2:
        return [call(argument) for argument in arguments]
    with ThreadPoolExecutor(min(threads, len(arguments))) as pool:
        return in_context(pool, call, arguments)


def in_context(pool: ThreadPoolExecutor, call: Callable[[T], R], arguments: Sequence[T]) -> list[R]:
    """`call` on each, in threads of `pool`, in the context of the request."""
    contexts = [copy_context() for _ in arguments]
    return list(pool.map(lambda context, argument: context.run(call, argument), contexts, arguments))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in portions of `size`, the last of what is left."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
