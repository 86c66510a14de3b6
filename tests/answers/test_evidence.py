"""What counts as evidence of trouble, and how long activity is held without any."""

import math
from dataclasses import replace

import pytest

from scaler.answers.settling import NEVER, Evidence, Level, Settling, evidence, hold
from scaler.core.domain import Metric, Reading
from scaler.demo.scripted import Map, Spot
from tests.answers.course import RULE, SPECS, Course


@pytest.fixture
def told() -> Course:
    return Course()


def test_to_know_nothing_is_no_sign_of_trouble() -> None:
    assert Evidence(1) == Evidence(1, -math.inf)
    nothing = Settling()
    assert (nothing.told, nothing.floor, nothing.is_settling) == (None, None, False)
    assert (nothing.told_at, nothing.trouble_at, nothing.error_at) == (-math.inf, -math.inf, -math.inf)
    assert math.isnan(nothing.low_since)


# Evidence


def test_the_trouble_of_any_place_counts_and_the_oldest_reading() -> None:
    places = [Spot("a"), Spot("b")]
    readings = [Reading(1, 30, NEVER), Reading(1, 29, 28)]
    assert evidence(places, readings, 31) == Evidence(29, 28)
    assert evidence(places[::-1], readings[::-1], 31) == Evidence(29, 28)


def test_what_is_read_seldom_is_as_good_as_new() -> None:
    places = [Map("a"), Spot("a")]
    assert evidence(places, [Reading((), 0), Reading(1, 30)], 31) == Evidence(30, NEVER)
    assert evidence(places[:1], [Reading((), 0)], 31) == Evidence(31, NEVER), "but not from the future"


# Holding

ACTIVE = Settling(told=Level((10,), active=True), told_at=100)


@pytest.mark.parametrize(
    ("settling", "now", "held"),
    [
        pytest.param(ACTIVE, 160.25, True, id="stale just now"),
        pytest.param(ACTIVE, 760, True, id="the last moment"),
        pytest.param(ACTIVE, 760.1, False, id="too long"),
        pytest.param(replace(ACTIVE, told=Level((10,), active=False)), 161, False, id="inactive was told"),
        pytest.param(Settling(), 161, False, id="nothing was told"),
    ],
)
def test_what_was_told_active_is_held_for_a_while(settling: Settling, now: float, *, held: bool) -> None:
    told = hold(settling, SPECS, now, RULE, "no route to host")
    assert (told is not None) == held
    if told is not None:
        assert (told.metrics, told.active) == ((Metric("jobs", 10),), True)
        assert told.reasons == (
            f"held: the last good reading is {now - 100:.0f} s old; KEDA is told what it was told then (no route to host)",
        )


def test_with_hold_seconds_0_nothing_is_held() -> None:
    assert hold(ACTIVE, SPECS, 161, replace(RULE, hold_seconds=0), "down") is None
