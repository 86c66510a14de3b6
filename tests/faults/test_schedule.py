"""Random faults in random order, minutes of them on a clock that is moved by hand; the seed of a failure is printed.

`SCALER_FAULT_SEEDS=5000` runs more of them.
"""

import asyncio
import os
import random
from bisect import bisect_right
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import HANG, ScriptedReader, Slow, TogetherReader, Work
from scaler.sources.access import Access
from scaler.store.snapshots import Snapshots

SEEDS = int(os.environ.get("SCALER_FAULT_SEEDS", "25"))
SECONDS = 120.0
REFRESH, STALE, SETTLE = 5.0, 20.0, 15.0
WAIT = 1.9
LONGEST_READ = 5.0  # after which the store gives up on a read that hangs
TOLD_AGAIN = REFRESH * 2 + LONGEST_READ


class World:
    """One queue whose truth is known at every moment, and a backend that tells it, or does not."""

    def __init__(self, seed: int, clock: ManualClock, reader: ScriptedReader) -> None:
        self.dice = random.Random(seed)
        self.clock, self.reader = clock, reader
        self.times, self.works = [clock.now()], [3]
        self.good_since = clock.now()
        self.mode = "good"
        self.told: list[tuple[float, bool]] = []  # all values and activities, the newest last
        self._answer()

    def work(self) -> None:
        """Let something arrive or be done."""
        self.times.append(self.clock.now())
        self.works.append(self.dice.choice([0, 0, 1, 3, 10, 500]))
        self._answer()

    def turn(self) -> None:
        """Let the backend become another one."""
        before, self.mode = self.mode, self.dice.choice(
            ["good", "good", "slow", "away", "refusing", "throttling", "hanging", "broken"]
        )  # fmt: skip
        if self.mode == "good" and before in {"away", "hanging"} and self.dice.random() < 0.5:
            self.mode = "forgetful"  # it comes back without its data, which its clients write anew
        self.good_since = self.clock.now()
        self._answer()

    def remember(self) -> None:
        """End forgetfulness, as heartbeats do after some seconds."""
        if self.mode == "forgetful":
            self.mode, self.good_since = "good", self.clock.now()
            self._answer()

    def _answer(self) -> None:
        truth = Work(self.works[-1])
        self.reader.answers["a"] = {
            "good": truth,
            "slow": Slow(self.dice.uniform(0.1, 4.0), truth),
            "forgetful": Work(0),
            "away": Unavailable("no connection"),
            "refusing": Refused("wrong password"),
            "throttling": Throttled("too many requests"),
            "hanging": HANG,
            "broken": RuntimeError("a defect"),
        }[self.mode]

    def true_since(self, when: float) -> set[int]:
        """Return everything that was true at some time from `when` on."""
        return set(self.works[max(0, bisect_right(self.times, when) - 1) :])


async def live(
    seed: int, clock: ManualClock, reader: ScriptedReader, objects: Desk, *, listen: bool, hold: bool
) -> Counter[str]:
    """Live through `SECONDS` of faults, asking all the time; raises `AssertionError` for a wrong answer."""
    world, told = World(seed, clock, reader), Counter[str]()
    metadata = {
        "source": "scripted",
        "spots": "a",
        "refreshSeconds": f"{REFRESH:g}",
        "idleRefreshSeconds": "1",
        "staleSeconds": f"{STALE:g}",
        "settleSeconds": f"{SETTLE:g}",
        "holdSeconds": "3600" if hold else "0",
    }
    who = objects.find("shop", "orders", metadata)
    end, forgetful_until = clock.now() + SECONDS, -float("inf")

    def listener() -> None:
        objects.says_active(who)

    with objects.listening(who, listener) if listen else nullcontext():
        while clock.now() < end:
            match world.dice.randrange(8):
                case 0 | 1:
                    world.turn()
                    if world.mode == "forgetful":
                        forgetful_until = clock.now() + world.dice.uniform(1, SETTLE - REFRESH)
                case 2:
                    if world.mode != "forgetful":
                        world.work()
                case _:
                    pass
            await clock.advance(world.dice.uniform(0.05, 4.0))
            if world.mode == "forgetful" and clock.now() >= forgetful_until:
                world.remember()
            asked = clock.now()
            task = asyncio.ensure_future(objects.answers.answer(who, WAIT))
            for _ in range(20):
                await clock.advance(0.1)
                if task.done():
                    break
            assert task.done(), "an answer took longer than the deadline"
            told[_judge(world, task, asked, clock.now(), hold=hold)] += 1
    return told


def _judge(world: World, task: "asyncio.Task[Any]", asked: float, now: float, *, hold: bool) -> str:
    error = task.exception()
    was_active = bool(world.told) and world.told[-1][1]
    if error is not None:
        assert isinstance(error, Fault), repr(error)
        well = now - world.good_since
        settles = 0 if world.told else SETTLE  # who was told nothing before waits until it has settled
        assert not (world.mode == "good" and well > TOLD_AGAIN + settles), f"good for {well:.1f} s, but told {error}"
        assert not (hold and was_active), f"told active before, and now {error}"
        return type(error).__name__
    value, active = task.result().told.metrics[0].value, task.result().told.active
    before, world.told = {each for each, _ in world.told}, [*world.told, (value, active)]
    # How old a reading may be: staleSeconds whatever happens, two intervals while all is well.
    since_good = asked - world.good_since if world.mode == "good" else 0.0
    allowed = world.true_since(asked - (2 * REFRESH if since_good > TOLD_AGAIN else STALE))
    if value not in allowed:  # a backend that fails, lies or has just come back: what was told before goes on
        assert since_good <= TOLD_AGAIN + SETTLE, f"{value} was not true for {since_good:.1f} s of good readings"
        assert value in before, f"{value} was neither true nor told before"
        if since_good > TOLD_AGAIN:
            assert value >= min(allowed), f"{value} is lower than all that was true: {allowed}"
        assert active or not was_active
        return "as before"
    if not active:
        assert 0 in allowed, f"inactive while {allowed} waited"
    return "active" if active else "inactive"


@pytest.mark.parametrize("kind", [ScriptedReader, TogetherReader], ids=["one by one", "together"])
@pytest.mark.parametrize("listen", [False, True], ids=["polls", "polls and a stream"])
@pytest.mark.parametrize("hold", [False, True], ids=["errors", "held"])
async def test_no_schedule_of_faults_makes_it_lie(
    kind: type[ScriptedReader], scripted_source: None, *, listen: bool, hold: bool
) -> None:
    told: Counter[str] = Counter()
    for seed in range(SEEDS):
        clock = ManualClock()
        reader = kind(clock)
        store = Snapshots([reader], clock, dice=random.Random(seed).random)
        objects = Desk(store, Access(), clock, limit=10)
        try:
            with capture_logs():  # each defect is logged, which is not the question here
                told += await live(seed, clock, reader, objects, listen=listen, hold=hold)
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}")
        finally:
            reader.answers.clear()
            await store.close()
        assert clock.pending == 0, f"seed {seed}"
        assert reader.most_at_once <= 1
    print(f"{SEEDS} schedules of {SECONDS:g} s: {sum(told.values())} answers {dict(told)}")  # noqa: T201 - what was seen
    assert {"active", "inactive", "Unavailable", "Refused", "as before"} <= told.keys()
