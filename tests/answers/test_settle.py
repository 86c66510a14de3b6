"""After trouble, slowly down: the rule itself, over any course of readings."""

import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.answers.settling import NEVER, Evidence, Level, Settling, evidence, hold, note_error, settle
from scaler.core.domain import Assessment, Metric, Reading
from scaler.core.errors import Unsettled
from scaler.demo.scripted import Spot
from tests.answers.course import RULE, SPECS, Course


@pytest.fixture
def told() -> Course:
    return Course()


def test_without_trouble_all_is_told_at_once(told: Course) -> None:
    assert [told(0, 7), told(1, 3), told(2, 0), told(3, 9)] == [(7, True), (3, True), (0, False), (9, True)]


# (taken, value, trouble_at, told value, told active), after 10 was told at 0
TABLE = {
    "lower is told when it was seen long enough": [
        (30, 0, 30, 10, True),
        (49, 0, 30, 10, True),
        (50, 0, 30, 0, False),
    ],
    "a lower value that is active counts alike": [
        (30, 4, 30, 10, True),
        (49.9, 4, 30, 10, True),
        (50, 4, 30, 4, True),
    ],
    "higher is told at once, and the floor stays": [
        (30, 12, 30, 12, True),
        (31, 11, 30, 11, True),
        (32, 3, 30, 10, True),
        (51, 3, 30, 10, True),
        (52, 3, 30, 3, True),
    ],
    "the lowest of what was seen all the time is told": [(30, 5, 30, 10, True), (50, 2, 30, 2, True)],
    "a break in the low run begins it anew": [
        (30, 0, 30, 10, True),
        (45, 10, 30, 10, True),
        (46, 0, 30, 10, True),
        (65, 0, 30, 10, True),
        (66, 0, 30, 0, False),
    ],
    "what stood through the settling time ends the doubt": [
        (30, 10, 30, 10, True),
        (50, 10, 30, 10, True),
        (51, 0, 30, 0, False),
    ],
    "what is lower than before the trouble is settled once": [
        (30, 5, 30, 10, True),
        (50, 5, 30, 5, True),
        (51, 1, 30, 1, True),
    ],
    "another fault begins anew, from what was told": [
        (30, 0, 30, 10, True),
        (45, 0, 45, 10, True),
        (64, 0, 45, 10, True),
        (65, 0, 45, 0, False),
    ],
    "trouble after it settled counts from what was told then": [
        (30, 4, 30, 10, True),
        (50, 4, 30, 4, True),
        (60, 0, 60, 4, True),
        (80, 0, 60, 0, False),
    ],
    "seeing counts by the time of the readings": [
        (30, 0, 30, 10, True),
        (30, 0, 30, 10, True),
        (50, 0, 30, 0, False),
    ],
    "a reading that began before the trouble proves nothing": [
        (25, 0, 30, 10, True),
        (49, 0, 30, 10, True),
        (50, 0, 30, 0, False),
    ],
    "a backend that says it has just started is trouble too": [(100, 0, 95, 10, True), (120, 0, 95, 0, False)],
    "one that has started long ago is none": [(100, 0, -900, 0, False)],
    "what has answered well for so long has settled unseen": [(50, 0, 30, 0, False)],
    "but not a moment before": [(49.9, 0, 30, 10, True)],
}


@pytest.mark.parametrize("rows", TABLE.values(), ids=TABLE.keys())
def test_transitions(told: Course, rows: list[tuple[float, float, float, float, bool]]) -> None:
    told(0, 10)
    assert [told(taken, value, trouble_at) for taken, value, trouble_at, *_ in rows] == [
        (value, active) for *_, value, active in rows
    ]


def test_the_activity_alone_is_held_too(told: Course) -> None:
    told(0, 10)
    assert told(30, 10, 30, active=False) == (10, True)
    assert told(50, 10, 30, active=False) == (10, False)


def test_the_activity_alone_is_seen_for_as_long_as_a_value(told: Course) -> None:
    told(0, 10)
    assert told(30, 10, 30) == (10, True)
    assert [told(taken, 10, 30, active=False) for taken in (45, 64.9, 65)] == [(10, True), (10, True), (10, False)]


def test_who_was_inactive_before_is_not_lower_for_being_so(told: Course) -> None:
    told(0, 2, active=False)
    assert told(30, 2, 30, active=False) == (2, False)
    assert [told(taken, 1, 30, active=False) for taken in (45, 64.9, 65)] == [(2, False), (2, False), (1, False)]


def test_the_reason_says_why(told: Course) -> None:
    told(0, 10)
    told(30, 0, 30)
    raw = Assessment((Metric("jobs", 0),), active=False, reasons=("no job waits",))
    _, answer = settle(told.settling, raw, Evidence(37.25, 30), RULE)
    assert answer.reasons == (
        (
            "settling: inactive is read since trouble, but only seen for 7 s of settleSeconds 20; "
            "KEDA is told what it was told before"
        ),
        "no job waits",
    )
    early = settle(told.settling, raw, Evidence(25, 30), RULE)[1]
    assert "but only seen for 0 s of" in early.reasons[0], "a reading from before the trouble"
    lower = replace(raw, active=True, metrics=(Metric("jobs", 1),))
    assert settle(told.settling, lower, Evidence(37, 30), RULE)[1].reasons[0].startswith("settling: lower is read")
    asleep = replace(told.settling, floor=Level((2,), active=False))
    assert settle(asleep, raw, Evidence(37, 30), RULE)[1].reasons[0].startswith("settling: lower is read")


def test_an_error_that_was_told_is_trouble(told: Course) -> None:
    """A place that nobody asked for since may have been forgotten, and its fault with it."""
    told(0, 10)
    told.settling = note_error(told.settling, 15)
    assert told(300, 0) == (10, True)
    assert told(319, 0) == (10, True)
    assert told(320, 0) == (0, False)
    assert told.settling.error_at == 15, "which is shown"


def test_what_is_not_lower_is_told_as_it_was_read(told: Course) -> None:
    told(0, 10)
    raw = Assessment((Metric("jobs", 11),), active=True, reasons=("jobs wait",))
    settling, answer = settle(told.settling, raw, Evidence(30, 30), RULE)
    assert settling.is_settling
    assert answer is raw


def test_each_metric_is_held_by_itself() -> None:
    def read(waiting: float, latency: float) -> Assessment:
        return Assessment((Metric("waiting", waiting), Metric("latency", latency)), active=True, reasons=())

    settling, _ = settle(Settling(), read(3, 40), Evidence(0), RULE)
    settling, told = settle(settling, read(5, 7), Evidence(30, 30), RULE)
    assert told.metrics == (Metric("waiting", 5), Metric("latency", 40))
    settling, told = settle(settling, read(2, 8), Evidence(49, 30), RULE)
    assert told.metrics == (Metric("waiting", 3), Metric("latency", 40))
    assert settle(settling, read(2, 8), Evidence(50, 30), RULE)[1].metrics == (
        Metric("waiting", 2),
        Metric("latency", 8),
    )


def test_without_a_settling_time_all_is_told_at_once() -> None:
    told = Course(rule=replace(RULE, settle_seconds=0))
    assert told(29, 5, 29) == (5, True), "also as the first answer"
    assert told(30, 0, 30) == (0, False)
    told(31, 5, 30)
    assert told(31, 0, 32) == (0, False)


def test_who_was_told_nothing_is_told_nothing_while_there_are_signs_of_trouble(told: Course) -> None:
    assert [told(taken, 3, 30) for taken in (30, 40, 49.9)] == [None, None, None]
    assert told(50, 3, 30) == (3, True)
    assert told(51, 0, 30) == (0, False), "it has settled"


def test_errors_from_before_the_first_answer_hold_nothing_up(told: Course) -> None:
    told.settling = note_error(told.settling, 30.5)
    assert [told(taken, 3, 30) for taken in (49.9, 50)] == [None, (3, True)]
    assert told.settling.error_at == 30.5
    assert told(51, 0, 30) == (0, False)


def test_who_was_told_nothing_waits_for_what_it_names(told: Course) -> None:
    with pytest.raises(Unsettled) as refused:
        settle(Settling(), Assessment((), active=False, reasons=()), Evidence(37.5, 30), RULE)
    assert str(refused.value) == (
        "what was read is not told yet: the backend has failed or started a moment ago, and this process has told "
        "nothing before; it waits 13 s more of settleSeconds 20"
    )


def test_who_was_told_nothing_is_told_at_once_without_a_sign(told: Course) -> None:
    assert told(30, 0) == (0, False)


def test_an_error_alone_is_no_sign_for_who_was_told_nothing(told: Course) -> None:
    """A first read that took too long says nothing of the backend's health."""
    told.settling = note_error(told.settling, 29)
    assert told(30, 3) == (3, True)
    assert told(31, 0) == (0, False), "nor later: what was told came after it"


# The values


@pytest.mark.parametrize(
    "value", [RULE, Evidence(1), Level((1,), active=True), Settling()], ids=lambda value: type(value).__name__
)
def test_what_is_remembered_is_replaced_whole(value: Any) -> None:
    name = fields(value)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)
    assert not hasattr(value, "__dict__"), "of which there are thousands"


def test_what_does_not_fit_together_is_a_defect_and_never_less_evidence(told: Course) -> None:
    with pytest.raises(ValueError, match="zip"):
        evidence([Spot("a"), Spot("b")], [Reading(1, 30)], 31)
    told(0, 10)
    for active in (True, False):
        with pytest.raises(ValueError, match="zip"):
            settle(told.settling, Assessment((), active=active, reasons=()), Evidence(30, 30), RULE)
    told(30, 10, 30)
    with pytest.raises(ValueError, match="zip"):
        settle(told.settling, Assessment((), active=True, reasons=()), Evidence(50, 30), RULE)
    with pytest.raises(ValueError, match="zip"):
        hold(ACTIVE, (*SPECS, *SPECS), 161, RULE, "down")


# Holding

ACTIVE = Settling(told=Level((10,), active=True), told_at=100)


# Any course

STEPS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 5.0, 11.0]),
        st.sampled_from(["read", "fault", "error", "restart"]),
        st.sampled_from([0.0, 1.0, 3.0]),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([0.0, 5.0, 20.0, 60.0]))
def test_lower_is_never_told_within_the_settling_time_of_trouble(
    steps: list[tuple[float, str, float]], settle_seconds: float
) -> None:
    """Held against a plain list of what was told, and when there was trouble."""
    course, now, trouble_at, failing = Course(rule=replace(RULE, settle_seconds=settle_seconds)), 100.0, NEVER, False
    told: list[tuple[float, float]] = []
    error_at = NEVER
    for seconds, what, value in steps:
        now += seconds
        if what == "fault":
            failing = True
        elif what == "error":
            error_at = now
            course.settling = note_error(course.settling, now)
        elif what == "restart":
            trouble_at = now
        else:
            if failing:
                trouble_at, failing = now, False
            answer = course(now, value, trouble_at)
            if answer is None:
                assert not told
                assert now - trouble_at < settle_seconds
                continue
            last = max(trouble_at, error_at)
            before = [each for at, each in told if at < last]
            if before and now - last < settle_seconds:
                assert answer[0] >= before[-1]
            if not before:
                assert answer[0] == value, "what was told came after all trouble"
            told.append((now, answer[0]))
    for _ in range(3):
        now += settle_seconds + 1
        end = course(now, 0, trouble_at)
    assert end == (0, False), "it ends"
    assert not course.settling.is_settling
    assert math.isnan(course.settling.low_since)
