"""The time steps of a simulation, and a trace in steps: its rows and its cumulated arrivals."""

import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat

from scaler.commands.trace import Trace, TraceError

MAX_STEPS = 20_000_000
"""With about 160 MB of cumulated arrivals; a year has 31 million seconds."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Step 0 is at `start`, in Unix seconds or of any other clock; the steps are `seconds` apart."""

    start: float
    seconds: float
    steps: int

    @classmethod
    def of(cls, trace: Trace, seconds: float) -> "Grid":
        """Return the grid from the first row of `trace` to its last; raises `TraceError` for too many steps."""
        steps = math.floor(trace.seconds / seconds + 1e-9) + 1
        if steps > MAX_STEPS:
            raise TraceError(f"the trace makes {steps:,} steps of {seconds:g} s; at most {MAX_STEPS:,} are simulated")
        return cls(trace.times[0], seconds, steps)

    def at(self, step: int) -> float:
        """Return the time of `step`."""
        return self.start + step * self.seconds

    def first(self, when: float) -> int:
        """Return the first step that is not before `when`; it may be beyond the last one."""
        step = max(0, math.ceil((when - self.start) / self.seconds - 1e-6))
        return step if self.start + step * self.seconds >= when else step + 1


def row_steps(grid: Grid, trace: Trace) -> list[int]:
    """Return the first step of each row; if several begin in the same step, the last of them counts."""
    start, seconds, ceil = grid.start, grid.seconds, math.ceil
    near = [ceil((time - start) / seconds - 1e-6) for time in trace.times]
    return [step if start + step * seconds >= time else step + 1 for step, time in zip(near, trace.times, strict=True)]


def arrived(grid: Grid, begins: list[int], rates: tuple[float, ...], seed: int | None) -> "array[int]":
    """Return the number of jobs that have arrived up to and including each step.

    `rates` are jobs per second, one for each row, and `begins` the first steps of the rows. Without a seed arrivals are
    as even as possible; with one they are Poisson, and the same for the same seed, whatever is simulated.
    """
    total: array[int] = array("q")
    dice = None if seed is None else random.Random(f"{seed}/arrivals")  # noqa: S311 - for simulation, repeatable
    exact, count = 0.0, 0
    for rate, (begin, end) in zip(rates, pairwise((*begins, grid.steps)), strict=True):
        steps, mean = min(end, grid.steps) - begin, rate * grid.seconds
        if steps <= 0:
            continue
        if not mean:
            total.extend(repeat(count, steps))
        elif dice is None:
            before = exact + 1e-9  # a rounding error must not delay a job
            total.extend([int(before + mean * step) for step in range(1, steps + 1)])
            exact += mean * steps
        else:
            total.extend(count + jobs for jobs in accumulate(_poisson(dice, mean, steps)))
        count = total[-1]
    return total


def _poisson(dice: random.Random, mean: float, steps: int) -> Iterator[int]:
    """Yield the arrivals of each step (Knuth's method; above a mean of 50 a normal distribution is close enough)."""
    draw, limit = dice.random, math.exp(-mean)
    for _ in range(steps):
        if mean > 50:
            yield max(0, round(dice.gauss(mean, math.sqrt(mean))))
            continue
        count, product = 0, draw()
        while product > limit:
            count += 1
            product *= draw()
        yield count
