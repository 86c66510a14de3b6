"""Part d's proof, and a half hour of leases, on a clock that is moved by hand: counts, not times."""

import gc
import tracemalloc
from typing import Any

from scaler.access import Access
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import SOURCE, ScriptedReader
from scaler.quota import Quota
from scaler.scaledobjects import ScaledObjects
from scaler.snapshots import Snapshots
from scaler.sources import SOURCES

STEP_SECONDS = 15.0
WAIT_SECONDS = 1.9


class House:
    """Store and ScaledObjects without a server."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        SOURCES.setdefault(SOURCE.name, SOURCE)
        self.clock = ManualClock()
        self.reader = ScriptedReader(self.clock)
        self.store = Snapshots([self.reader], self.clock, dice=lambda: 0.5)
        self.objects = ScaledObjects(
            self.store, Access(), self.clock, max_scaled_objects=Quota(100_000, "limits.maxScaledObjects", 100_000)
        )

    async def poll(self, numbers: range, places: int) -> None:
        """Let each ask once."""
        for number in numbers:
            asker = self.objects.find(
                "shop", f"workload-{number}", {"source": "scripted", "spots": f"s{number % places}"}
            )
            await self.objects.answer(asker, WAIT_SECONDS)


async def _reads(size: int, places: int, minutes: float) -> int:
    house = House()
    first = {"source": "scripted"}
    for place in range(places):  # so that no answer has to be waited for on this clock
        asker = house.objects.find("shop", f"workload-{place}", {**first, "spots": f"s{place}"})
        house.store.lease(asker, asker.places[0], 10.0, house.clock.now() + 100, "shop")
    await house.clock.advance(5)
    house.reader.reads.clear()
    for _ in range(int(minutes * 60 / STEP_SECONDS)):
        await house.poll(range(size), places)
        await house.clock.advance(STEP_SECONDS)
    await house.store.close()
    return sum(len(names) for _, names in house.reader.reads)


async def upstream(size: int, places: int, minutes: float = 2.0) -> dict[str, Any]:
    """Return how many reads `size` ScaledObjects on `places` cost, beside one ScaledObject for each place."""
    many, few = await _reads(size, places, minutes), await _reads(places, places, minutes)
    return {
        "ScaledObjects": size, "places": places, "minutes": minutes,
        "reads": many, "reads of one for each place": few, "ratio": many / few,
    }  # fmt: skip


async def half_hour(size: int, minutes: float = 30.0) -> dict[str, Any]:
    """Let a fleet come and go in generations; return what is held after half of the time, and at its end."""
    house, places = House(), max(1, size // 20)
    rounds = int(minutes * 60 / STEP_SECONDS)
    found: dict[str, Any] = {"ScaledObjects": size, "minutes": minutes}
    tracemalloc.start()
    for number in range(rounds):
        generation = number // 8  # every two minutes another fleet
        for place in range(places):
            spot = f"g{generation}-s{place}"
            asker = house.objects.find("shop", f"g{generation}-{place}", {"source": "scripted", "spots": spot})
            house.store.lease(asker, asker.places[0], 10.0, house.clock.now() + 100, "shop")
        await house.clock.advance(STEP_SECONDS)
        house.reader.reads.clear()
        house.reader.forgotten.clear()
        house.reader.under_way.clear()
        house.objects.forget_old()
        if number + 1 in {(2 * rounds) // 3, rounds}:
            gc.collect()
            when = "at the end" if number + 1 == rounds else "after 20 minutes"
            found[f"remembered {when}"] = len(house.objects)
            found[f"places {when}"] = len(house.store)
            found[f"kB {when}"] = tracemalloc.get_traced_memory()[0] / 1e3
    tracemalloc.stop()
    await house.store.close()
    return found
