"""Parallel requests to the store, and chunks of sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(call: Callable[[T], R], arguments: Sequence[T], threads: int) -> list[R]:
    """The results of `call` for each argument, in threads of its own, so that `call` may use the store's threads.

    Each call runs in the request's context: all share its decisions about large transactions.
    """
    if len(arguments) < 2:
        return [call(argument) for argument in arguments]
    with ThreadPoolExecutor(min(threads, len(arguments))) as pool:
        return in_context(pool, call, arguments)


def in_context(pool: ThreadPoolExecutor, call: Callable[[T], R], arguments: Sequence[T]) -> list[R]:
    """The results of `call` for each argument, in threads of `pool`, in the context of the request."""
    contexts = [copy_context() for _ in arguments]
    return list(pool.map(lambda context, argument: context.run(call, argument), contexts, arguments))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in chunks of `size`; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
