"""Hides long-lived objects from the garbage collector, which takes 0.2 s to walk 10,000 ScaledObjects."""

import gc
from collections.abc import Callable

STEP = 500
QUICK_OBJECTS = 20_000
"""A collection of so many objects in the old generation takes about 15 ms."""
PATIENCE = 10
NEVER = 1_000_000


class Garbage:
    """Freezes all objects (`gc.freeze`) whenever the number of long-lived ones has grown by a step.

    A frozen object is still freed when its last reference goes. Only reference cycles would stay, and the long-lived
    objects (ScaledObjects, places and streams) are in none.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        """Take `size`, which returns the number of long-lived objects."""
        self._size, self._next, self._put_off = size, STEP, 0
        self._settled = False

    def settle(self) -> None:
        """Freeze what the start has left, and collect the old generation only in `tidy` from now on; takes a while."""
        gc.collect()
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, NEVER)
        self._settled = True

    def grown(self) -> None:
        """Take note of a new long-lived object."""
        size = self._size()
        if size >= self._next:
            self._next = size + STEP
            gc.collect(1)  # the young generations have most of the garbage
            gc.freeze()

    def tidy(self) -> None:
        """Collect the old generation; called every half minute, not during a burst of calls, which it would delay."""
        if not self._settled:  # Python still does it by itself
            return
        if len(gc.get_objects(2)) > QUICK_OBJECTS and self._put_off < PATIENCE:
            self._put_off += 1
            return
        self._put_off = 0
        gc.collect()
