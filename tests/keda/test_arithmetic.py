import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scaler.keda.arithmetic import Metric, MetricType, Pods, Tolerances, propose, written_out

TENTH = Tolerances(0.1, 0.1)
values = st.floats(min_value=0, max_value=1e9)
targets = st.floats(min_value=0.001, max_value=1e6)
replicas = st.integers(min_value=1, max_value=1000)
types = st.sampled_from(["AverageValue", "Value"])


def pods(count: int) -> Pods:
    return Pods(count, count, count)


@pytest.mark.parametrize(
    ("metric", "at", "lines"),
    [
        pytest.param(
            Metric("AverageValue", 5, 128),
            pods(10),
            ("128 / (5 * 10 replicas) = 2.56, outside the tolerance of 0.9 to 1.1", "ceil(128 / 5) = 26"),
            id="grow",
        ),
        pytest.param(
            Metric("AverageValue", 10, 77),
            pods(7),
            ("77 / (10 * 7 replicas) = 1.1, within the tolerance of 0.9 to 1.1: 7 replicas, as now",),
            id="the upper end is within",
        ),
        pytest.param(
            Metric("AverageValue", 5, 4.9),
            pods(1),
            ("4.9 / (5 * 1 replica) = 0.98, within the tolerance of 0.9 to 1.1: 1 replica, as now",),
            id="one",
        ),
        pytest.param(
            Metric("AverageValue", 0.75, 3.0004),
            Pods(1, 0, 0),
            ("the HPA reads 3.0004 as 3", "no replica runs yet: the tolerance does not count", "ceil(3 / 0.75) = 4"),
            id="just woken",
        ),
        pytest.param(
            Metric("Value", 10, 15),
            Pods(5, 5, 3),
            ("15 / 10 = 1.5, outside the tolerance of 0.9 to 1.1", "ceil(1.5 * 3 ready pods) = 5"),
            id="Value multiplies the ready pods",
        ),
        pytest.param(
            Metric("Value", 10, 9),
            Pods(5, 5, 3),
            ("9 / 10 = 0.9, within the tolerance of 0.9 to 1.1: 5 replicas, as now",),
            id="Value within keeps the spec",
        ),
        pytest.param(
            Metric("AverageValue", 5, 1e16),
            pods(4),
            (
                "the HPA reads 1e+16 as 0",
                "0 / (5 * 4 replicas) = 0, outside the tolerance of 0.9 to 1.1",
                "ceil(0 / 5) = 0",
            ),
            id="overflow is nothing",
        ),
        pytest.param(
            Metric("AverageValue", 5, None),
            pods(4),
            ("it could not be read: it proposes nothing, and until it can be read nothing scales down",),
            id="failed",
        ),
    ],
)
def test_written_out(metric: Metric, at: Pods, lines: tuple[str, ...]) -> None:
    assert written_out(metric, at, TENTH) == lines


def test_within_the_tolerance_the_count_is_that_of_the_status_or_of_the_spec() -> None:
    """`AverageValue` compares the pods that exist, and keeps those; `Value` keeps what the spec says."""
    rolling = Pods(replicas=5, status_replicas=4, ready=3)
    assert propose(Metric("AverageValue", 10, 40), 40, rolling, TENTH) == 4
    assert propose(Metric("Value", 10, 10), 10, rolling, TENTH) == 5


@given(types, values, targets, replicas)
def test_the_last_line_holds_the_proposal(kind: MetricType, value: float, target: float, count: int) -> None:
    metric = Metric(kind, target, value)
    proposal = propose(metric, value, pods(count), TENTH)
    last = written_out(metric, pods(count), TENTH)[-1]
    assert last.endswith((f"= {proposal}", f": {proposal} replica{'s' if proposal != 1 else ''}, as now"))


@given(types, values, values, targets, replicas)
def test_a_larger_value_never_asks_for_less(kind: MetricType, a: float, b: float, target: float, count: int) -> None:
    low, high = sorted((a, b))
    metric = Metric(kind, target, low)
    assert propose(metric, low, pods(count), TENTH) <= propose(metric, high, pods(count), TENTH)


@given(types, st.floats(min_value=0.9001, max_value=1.0999), st.integers(1, 1000), replicas)
def test_within_the_tolerance_nothing_moves(kind: MetricType, ratio: float, target: int, count: int) -> None:
    value = ratio * target * (count if kind == "AverageValue" else 1)
    assume(value * 0.0002 > 0.001)  # else rounding to thousandths may carry it over the edge
    assert propose(Metric(kind, target, value), value, pods(count), TENTH) == count


@given(values, targets, replicas)
def test_outside_the_tolerance_every_replica_bears_at_most_the_target(value: float, target: float, count: int) -> None:
    value, target = round(value, 3), round(target, 3)
    proposal = propose(Metric("AverageValue", target, value), value, pods(count), Tolerances(0, 0))
    assert proposal == min(math.ceil(float(f"{value * 1000:.0f}") / float(f"{target * 1000:.0f}")), 2**31 - 1)
