"""After a fault, slowly to zero: the rule itself, over any course of readings."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scaler.answers.scaledobject import Question, ScaledObject
from scaler.core.domain import Assessment, Place, Reading
from scaler.core.errors import Unavailable
from scaler.demo.scripted import Map, ScriptedTrigger, Spot, Work
from scaler.sources.base import NAMESPACE

SETTLE_SECONDS = 20.0
A, B = Spot("a"), Spot("b")


def asker(settle_seconds: float = SETTLE_SECONDS) -> ScaledObject:
    trigger = ScriptedTrigger.model_validate(
        {NAMESPACE: "shop", "source": "scripted", "spots": "a,b", "settleSeconds": settle_seconds}
    )
    return ScaledObject(b"", "shop", "orders", Question(trigger), 0)


@dataclass
class Told:
    """Judges readings and keeps what was told, as ScaledObjects does."""

    who: ScaledObject
    now: float = 0

    def __call__(self, now: float, work: float, *, trouble_at: float = -math.inf, at: float | None = None) -> bool:
        """Judge one spot that was read at `at`, by default now."""
        return self.all(now, {A: Reading(Work(work), now if at is None else at, trouble_at)})

    def all(self, now: float, readings: dict[Place, Reading]) -> bool:
        values = {place: reading.value for place, reading in readings.items()}
        raw = self.who.trigger.assess(values, 0)
        self.who.places = tuple(readings)
        told = self.who.settle(raw, tuple(readings.values()), now)
        assert told.metrics == raw.metrics
        assert told.active or not raw.active, "active is never hidden"
        self.who.assessment = told
        return told.active


@pytest.fixture
def told() -> Told:
    return Told(asker())


def test_without_a_fault_inactive_is_told_at_once(told: Told) -> None:
    assert told(0, 1)
    assert not told(1, 0)


def test_after_a_fault_inactive_is_told_when_it_was_seen_long_enough(told: Told) -> None:
    assert told(0, 1)
    assert told(30, 0, trouble_at=30)
    assert told(49, 0, trouble_at=30)
    assert not told(50, 0, trouble_at=30)
    assert not told(51, 0, trouble_at=30)


def test_the_reason_says_why(told: Told) -> None:
    told(0, 1)
    told(30, 0, trouble_at=30)
    told(37, 0, trouble_at=30)
    assert told.who.assessment is not None
    assert told.who.assessment.reasons == (
        "active: inactive since a fault, but only seen for 7 s of settleSeconds 20",
        "0 to do",
    )


def test_what_was_inactive_before_the_fault_stays_inactive(told: Told) -> None:
    assert told(0, 1)
    assert not told(10, 0)
    assert not told(30, 0, trouble_at=30)


def test_who_was_told_nothing_yet_is_told_what_is(told: Told) -> None:
    assert not told(30, 0, trouble_at=30)


def test_another_fault_begins_anew(told: Told) -> None:
    told(0, 1)
    assert told(30, 0, trouble_at=30)
    assert told(45, 0, trouble_at=45)
    assert told(64, 0, trouble_at=45)
    assert not told(65, 0, trouble_at=45)


def test_a_moment_of_activity_after_the_fault_proves_little(told: Told) -> None:
    """A Redis that lost its data may hold one new job before the heartbeats of the busy workers are back."""
    told(0, 1)
    assert told(30, 1, trouble_at=30)
    assert told(31, 0, trouble_at=30)
    assert told(50, 0, trouble_at=30)
    assert not told(51, 0, trouble_at=30)


def test_activity_for_the_whole_settling_time_ends_the_doubt(told: Told) -> None:
    for now in range(0, 51, 5):
        assert told(now, 1, trouble_at=30 if now >= 30 else -math.inf)
    assert not told(51, 0, trouble_at=30)


def test_seeing_counts_by_the_time_of_the_readings(told: Told) -> None:
    """While a backend is down again, the old inactive reading is served, and proves nothing new."""
    told(0, 1)
    assert told(30, 0, trouble_at=30)
    assert told(55, 0, trouble_at=30, at=30)
    assert not told(56, 0, trouble_at=30)


def test_the_fault_of_any_place_counts_and_the_oldest_reading(told: Told) -> None:
    told.all(0, {A: Reading(Work(1), 0), B: Reading(Work(), 0)})
    assert told.all(30, {A: Reading(Work(), 30), B: Reading(Work(), 29, trouble_at=29)})
    assert told.all(51, {A: Reading(Work(), 51), B: Reading(Work(), 48, trouble_at=29)})
    assert not told.all(52, {A: Reading(Work(), 52), B: Reading(Work(), 50, trouble_at=29)})


def test_what_is_read_seldom_does_not_hold_up_the_rest(told: Told) -> None:
    found = Map("a")

    def readings(now: float, work: float, listed: float) -> dict[Place, Reading]:
        return {found: Reading((), listed), A: Reading(Work(work), now, trouble_at=30 if now >= 30 else -math.inf)}

    told.all(0, readings(0, 1, 0))
    assert told.all(30, readings(30, 0, 0))
    assert told.all(49, readings(49, 0, 0))
    assert not told.all(50, readings(50, 0, 0))


def test_a_listing_that_failed_counts_as_a_fault(told: Told) -> None:
    told.all(0, {Map("a"): Reading((), 0), A: Reading(Work(1), 0)})
    assert told.all(30, {Map("a"): Reading((), 29, trouble_at=29), A: Reading(Work(), 30)})


def test_an_error_that_was_told_counts_as_a_fault(told: Told) -> None:
    """A place that nobody asked for since may have been forgotten, and its fault with it."""
    told(0, 1)
    told.who.error, told.who.error_at = Unavailable("down"), 15
    assert told(300, 0)
    assert told(319, 0)
    assert not told(320, 0)


def test_without_a_settling_time_inactive_is_told_at_once() -> None:
    told = Told(asker(settle_seconds=0))
    told(0, 1)
    assert not told(30, 0, trouble_at=30)


def test_a_trigger_without_places_is_told_what_it_says(told: Told) -> None:
    raw = Assessment((), active=False, reasons=())
    assert told.who.settle(raw, {}, 5) is raw


STEPS = st.lists(
    st.tuples(st.sampled_from([1.0, 5.0, 11.0]), st.sampled_from(["active", "inactive", "fault", "error"])), max_size=40
)


@given(STEPS, st.sampled_from([0.0, 5.0, 20.0, 60.0]))
def test_inactive_is_never_told_within_the_settling_time_of_a_fault(
    steps: list[tuple[float, str]], settle_seconds: float
) -> None:
    told, now, healed = Told(asker(settle_seconds)), 100.0, -math.inf
    failing, inactive_since, last, was_active = False, math.inf, None, False
    for seconds, what in steps:
        now += seconds
        if what == "fault":
            failing = True
            continue
        if what == "error":
            told.who.error_at, inactive_since = now, math.inf
            continue
        if failing:
            healed, failing, inactive_since = now, False, math.inf
        inactive_since = min(inactive_since, now) if what == "inactive" else math.inf
        told_active = told(now, what == "active", trouble_at=healed)
        troubled = max(healed, told.who.error_at) > -math.inf
        if was_active and not told_active and troubled:
            quiet = now - max(healed, told.who.error_at)
            assert now - inactive_since >= settle_seconds or quiet >= settle_seconds
        was_active = last = told_active
    assume(last is not None)
    for _ in range(3):
        now += settle_seconds
        last = told(now, 0, trouble_at=healed)
    assert not last, "it ends"
