"""Keeps what stays out of the garbage collector's sight: walking ten thousand ScaledObjects stops the loop for 0.2 s."""

import gc
from collections.abc import Callable

STEP = 500
QUICK_OBJECTS = 20_000
"""In the old generation, walked in about 15 ms."""
PATIENCE = 10
NEVER = 1_000_000


class Garbage:
    """Freezes what is there whenever that has grown by a step; not again for what only comes and goes.

    What is frozen is still freed when nobody refers to it any more. Only a cycle would stay, and the long-lived things
    of the house, ScaledObjects, places and streams, leave none.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        """Judge by `size`, the number of long-lived things."""
        self._size, self._next, self._put_off = size, STEP, 0
        self._settled = False

    def settle(self) -> None:
        """Freeze what a start has left, and let the old generation be collected by `tidy` alone; takes a while."""
        gc.collect()
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, NEVER)
        self._settled = True

    def grown(self) -> None:
        """Something long-lived has come."""
        size = self._size()
        if size >= self._next:
            self._next = size + STEP
            gc.collect(1)  # the young: most of what is garbage, and what a burst has just made
            gc.freeze()

    def tidy(self) -> None:
        """Collect the old generation, to be called every half minute: not in a burst, in which it holds every call."""
        if not self._settled:  # Python does it by itself
            return
        if len(gc.get_objects(2)) > QUICK_OBJECTS and self._put_off < PATIENCE:
            self._put_off += 1
            return
        self._put_off = 0
        gc.collect()
