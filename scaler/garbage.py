"""Keeps what stays out of the garbage collector's sight: walking ten thousand ScaledObjects stops the loop for 0.2 s."""

import gc
from collections.abc import Callable

STEP = 500
OLD_THRESHOLD = 1_000
"""Collections of the middle generation before one of the oldest; Python's default is 10."""


def settle() -> None:
    """Freeze what a start has left, and walk what is old a hundred times less often; takes a while.

    Nearly all that needs the collector is young: the cycle that grpc makes at each call.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD_THRESHOLD)


class Growth:
    """Freezes what is there whenever that has grown by a step; not again for what only comes and goes.

    What is frozen is still freed when nobody refers to it any more. Only a cycle would stay, and the long-lived things
    of the house, ScaledObjects, places and streams, leave none.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        """Judge by `size`, the number of long-lived things."""
        self._size, self._next = size, STEP

    def grown(self) -> None:
        """Something long-lived has come."""
        size = self._size()
        if size >= self._next:
            self._next = size + STEP
            gc.collect(1)  # the young: most of what is garbage, and what a burst has just made
            gc.freeze()
