"""Choices that depend on a number only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice(random.Random):
    """A sequence of choices: all that a request has of chance."""

    def one_in(self, number: int) -> bool:
        """True once in `number` times."""
        return self.randrange(number) == 0

    def some(self, values: Sequence[T], most: int) -> list[T]:
        """Up to `most` of the values, each once."""
        return self.sample(values, self.randint(0, min(most, len(values))))
