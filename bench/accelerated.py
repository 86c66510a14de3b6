"""Part d's proof, and a half hour of leases, on a clock that is moved by hand: counts, not times."""

import gc
import sys
from collections.abc import Iterable, Sequence

from bench.report import Found
from bench.spread import Row
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import SOURCE, ScriptedReader
from scaler.sources import SOURCES
from scaler.sources.access import Access
from scaler.store.snapshots import Snapshots

STEP_SECONDS = 15.0
WAIT_SECONDS = 1.9
GENERATION_STEPS = 8
"""Every two minutes another part of the fleet comes; a ScaledObject is remembered for 15 minutes after it was gone."""


class House:
    """Store and ScaledObjects without a server."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        SOURCES.setdefault(SOURCE.name, SOURCE)
        self.clock = ManualClock()
        self.reader = ScriptedReader(self.clock)
        self.store = Snapshots([self.reader], self.clock, dice=lambda: 0.5)
        self.objects = Desk(self.store, Access(), self.clock, limit=100_000, per_namespace=100_000)

    async def begin(self, names: Iterable[str], places: Sequence[str]) -> None:
        """Lease `places` until they are read, so that no answer has to be waited for on this clock."""
        for name, place in zip(names, places, strict=False):
            scaled_object = self.objects.find("shop", name, {"source": "scripted", "spots": place})
            self.store.lease(scaled_object, scaled_object.places[0], 10.0, self.clock.now() + 100, "shop")
        await self.clock.advance(5)

    async def poll(self, names: Iterable[str], places: Sequence[str]) -> None:
        """Let each ask once, evenly spread over `places`."""
        for number, name in enumerate(names):
            scaled_object = self.objects.find(
                "shop", name, {"source": "scripted", "spots": places[number % len(places)]}
            )
            await self.objects.answers.answer(scaled_object, WAIT_SECONDS)

    def forget_notes(self) -> None:
        """Drop what only the scripted reader keeps, for tests."""
        self.reader.reads.clear()
        self.reader.forgotten.clear()
        self.reader.under_way.clear()


async def _reads(size: int, places: int, minutes: float) -> int:
    house, spots = House(), [f"s{place}" for place in range(places)]
    names = [f"workload-{number}" for number in range(size)]
    await house.begin(names, spots)
    house.forget_notes()
    for _ in range(int(minutes * 60 / STEP_SECONDS)):
        await house.poll(names, spots)
        await house.clock.advance(STEP_SECONDS)
    await house.store.close()
    return sum(len(names) for _, names in house.reader.reads)


async def upstream(size: int, places: int, minutes: float = 2.0) -> Row:
    """Return how many reads `size` ScaledObjects on `places` cost, beside one ScaledObject for each place."""
    many, few = await _reads(size, places, minutes), await _reads(places, places, minutes)
    return {
        "ScaledObjects": size, "places": places, "minutes": minutes,
        "reads": many, "reads of one for each place": few, "ratio": many / few,
    }  # fmt: skip


async def half_hour(size: int, minutes: float = 30.0) -> list[Row]:
    """Let a fleet come and go in parts, until about `size` ScaledObjects are remembered; return what is held then.

    The first row is from `minutes` after the start, when as many are forgotten as come, the last from as long after.
    """
    gc.collect()
    house, rounds, empty = House(), int(minutes * 60 / STEP_SECONDS), sys.getallocatedblocks()
    rows: list[Row] = []
    names, spots = list[str](), list[str]()
    for number in range(2 * rounds):
        generation, step = divmod(number, GENERATION_STEPS)
        if step == 0:
            names = [f"g{generation}-{each}" for each in range(size // GENERATION_STEPS)]
            spots = [f"g{generation}-s{each}" for each in range(max(1, size // 20))]
            await house.begin(names, spots)
        await house.poll(names, spots)
        await house.clock.advance(STEP_SECONDS - 5 * (step == 0))
        house.objects.forget_old()
        house.forget_notes()
        if (number + 1) % (rounds // 3) == 0 and number + 1 >= rounds:
            gc.collect()
            rows.append({
                "minutes": (number + 1) * STEP_SECONDS / 60,
                "ScaledObjects remembered": len(house.objects),
                "places": len(house.store),
                # Blocks that Python has given out, large and small ones; tracemalloc would take four times as long.
                "memory blocks": sys.getallocatedblocks() - empty,
            })  # fmt: skip
    await house.store.close()
    return rows


async def measure(size: int, places: int) -> Found:
    """Return both, for `size` ScaledObjects."""
    return Found({"upstream": [await upstream(size, places)], "half hour": await half_hour(size)})
