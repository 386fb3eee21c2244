# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache that is bounded in bytes and forgets what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Maps keys to values of known size; not thread-safe.

    Args:
        max_bytes: Bound on the sum of the sizes; the newest value stays even if it alone is larger.
        size_of: Returns the size of a value in bytes.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        """Count the values."""
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """Return a value and mark it as used, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value, and forget old ones while there are too many bytes."""
        self.discard(lambda known: known == key)
        self._values[key] = value
        self.nbytes += self._size_of(value)
        while self.nbytes > self._max_bytes and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self.nbytes -= self._size_of(oldest)

    def discard(self, matches: Callable[[Hashable], bool]) -> None:
        """Forget the values whose keys match."""
        for key in [key for key in self._values if matches(key)]:
            self.nbytes -= self._size_of(self._values.pop(key))
