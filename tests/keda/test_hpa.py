import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from scaler.keda.arithmetic import Metric, MetricType, Pods
from scaler.keda.behavior import Behavior, Policy, ScaleDown, ScaleUp
from scaler.keda.hpa import ControllerFlags, Decision, Hpa, HpaSpec

FIXTURES = Path(__file__).parent / "fixtures"


def pods(count: int) -> Pods:
    return Pods(count, count, count)


def observed(file: str) -> list[Any]:
    document = json.loads((FIXTURES / file).read_text())
    flags = ControllerFlags(
        document["hpaSyncPeriodSeconds"], document["hpaDownscaleStabilizationSeconds"], document["hpaTolerance"]
    )
    return [pytest.param(case, flags, id=case["id"]) for case in document["cases"]]


@pytest.mark.parametrize(("case", "flags"), observed("static.json") + observed("static-behavior.json"))
def test_every_observed_decision(case: dict[str, Any], flags: ControllerFlags) -> None:
    behavior = TypeAdapter(Behavior).validate_json(json.dumps(case["behavior"])) if "behavior" in case else None
    hpa = Hpa(HpaSpec(max(1, case["minReplicaCount"]), case["maxReplicaCount"], behavior), flags)
    metrics = [
        Metric(case["metricType"], metric["target"], None if metric["value"] is None else float(metric["value"]))
        for metric in case["metrics"]
    ]
    count = case["currentReplicas"]
    decision = hpa.sync(0, Pods(count, count, case.get("readyPods", 0)), metrics)
    assert decision.desired == case.get("desiredReplicas", count)
    reasons = {
        "AbleToScale": decision.able_to_scale,
        "ScalingActive": decision.scaling_active,
        "ScalingLimited": decision.scaling_limited,
    }
    assert {condition: reason for condition, reason in reasons.items() if reason} == case["conditions"]


def test_the_observed_cases_are_all_there() -> None:
    assert len(observed("static.json")) == 100
    assert len(observed("static-behavior.json")) == 36


TARGET_1 = HpaSpec(1, 100)


def sync(hpa: Hpa, at: float, replicas: int, value: float | None) -> Decision:
    """Sync on one metric with target 1, so that the value is the proposal."""
    return hpa.sync(at, pods(replicas), [Metric("AverageValue", 1, value, "s0-q")])


def test_the_first_recommendation_is_the_count_that_the_hpa_finds() -> None:
    """It holds the first move down for a whole window."""
    hpa = Hpa(TARGET_1)
    assert sync(hpa, 0, 9, 1).desired == 9
    assert sync(hpa, 299, 9, 1).desired == 9
    assert sync(hpa, 300, 9, 1).desired == 1


def test_a_first_sync_at_zero_recommends_zero() -> None:
    hpa = Hpa(TARGET_1)
    assert hpa.sync(0, pods(0), []) == Decision(0, scaling_active="ScalingDisabled")
    assert sync(hpa, 15, 9, 1).desired == 1


def test_recommendations_are_made_by_metrics_alone() -> None:
    """So an outage longer than the window removes the stabilisation: 9 to 1 on the first good sync."""
    hpa = Hpa(TARGET_1)
    assert sync(hpa, 0, 9, 9).desired == 9
    for at in range(15, 330, 15):
        assert sync(hpa, at, 9, None) == Decision(9, scaling_active="FailedGetExternalMetric")
    assert sync(hpa, 330, 9, 1).desired == 1


def test_a_missing_metric_forbids_shrinking_only() -> None:
    flags = ControllerFlags(downscale_stabilization_seconds=0)
    read, failed = Metric("AverageValue", 1, 6, "a"), Metric("AverageValue", 1, None, "b")
    assert Hpa(TARGET_1, flags).sync(0, pods(4), [failed, read]).desired == 6
    assert Hpa(TARGET_1, flags).sync(0, pods(6), [read, failed]).scaling_active == "ValidMetricFound"
    assert Hpa(TARGET_1, flags).sync(0, pods(8), [read, failed]) == Decision(
        8, scaling_active="FailedGetExternalMetric"
    )


@pytest.mark.parametrize(("count", "desired"), [(12, 10), (2, 3)], ids=["above", "below"])
def test_bounds_count_even_when_all_metrics_fail(count: int, desired: int) -> None:
    hpa = Hpa(HpaSpec(3, 10))
    assert not hpa.looks_at_metrics(count)
    decision = sync(hpa, 0, count, None)
    assert decision.desired == desired
    assert decision.steps() == (
        f"Current number of replicas {'above Spec.Max' if count > 10 else 'below Spec.Min'}Replicas",
    )


def test_the_largest_metric_names_the_reason() -> None:
    hpa = Hpa(TARGET_1)
    decision = hpa.sync(0, pods(2), [Metric("AverageValue", 1, 3, "a"), Metric("AverageValue", 1, 4, "b")])
    assert (decision.desired, decision.reason) == (4, "b above target")


@pytest.mark.parametrize(("count", "desired"), [(1, 4), (2, 4), (3, 6), (10, 20)])
def test_without_behavior_growth_is_to_four_or_twofold(count: int, desired: int) -> None:
    decision = sync(Hpa(TARGET_1), 0, count, 99)
    assert (decision.desired, decision.scaling_limited) == (desired, "ScaleUpLimit")


def test_any_behavior_replaces_that_limit_by_its_default_policies() -> None:
    hpa = Hpa(HpaSpec(1, 100, Behavior(scale_down=ScaleDown(stabilization_window_seconds=5))))
    assert sync(hpa, 0, 1, 99).desired == 5
    assert sync(hpa, 14, 5, 99).desired == 5
    assert sync(hpa, 15, 5, 99).desired == 10


def test_a_window_of_scale_up_takes_the_lowest_recommendation() -> None:
    hpa = Hpa(HpaSpec(1, 100, Behavior(ScaleUp(stabilization_window_seconds=30))))
    assert sync(hpa, 0, 2, 8) == Decision(2, 8, 2, "", "ScaleUpStabilized", "ValidMetricFound", "DesiredWithinRange")
    assert sync(hpa, 15, 2, 5).desired == 2
    assert sync(hpa, 30, 2, 6).desired == 5


def test_each_direction_has_its_own_window() -> None:
    """What is exactly as old as a window is outside: a real sync comes some milliseconds later than its period."""
    hpa = Hpa(
        HpaSpec(1, 100, Behavior(ScaleUp(stabilization_window_seconds=60), ScaleDown(stabilization_window_seconds=30)))
    )
    assert sync(hpa, 0, 9, 5).desired == 9
    assert sync(hpa, 15, 9, 5).desired == 9
    assert sync(hpa, 30, 9, 5).desired == 5
    assert sync(hpa, 45, 5, 8).desired == 5
    assert sync(hpa, 90, 5, 8).desired == 8


def test_tolerances_of_the_behavior_go_before_the_flag() -> None:
    hpa = Hpa(HpaSpec(1, 100, Behavior(ScaleUp(tolerance=0.0), ScaleDown(tolerance=0.3))))
    assert hpa.tolerances() == (0.3, 0.0)
    assert sync(hpa, 0, 10, 10.001).proposal == 11
    assert sync(hpa, 1, 10, 7).proposal == 10
    assert sync(hpa, 2, 10, 6.999).proposal == 7
    assert Hpa(HpaSpec(behavior=Behavior()), ControllerFlags(tolerance=0.2)).tolerances() == (0.2, 0.2)


@pytest.mark.parametrize(
    ("decision", "lines"),
    [
        pytest.param(Decision(0, scaling_active="ScalingDisabled"), ("an HPA does nothing at 0 replicas; KEDA alone leaves 0",), id="disabled"),
        pytest.param(Decision(4, scaling_active="FailedGetExternalMetric"), ("a metric could not be read",), id="failed"),
        pytest.param(Decision(5, 5, 5, "", "ReadyForNewScale", "ValidMetricFound", "DesiredWithinRange"), ("the metrics ask for 5",), id="plain"),
        pytest.param(
            Decision(8, 26, 26, "x", "SucceededRescale", "ValidMetricFound", "ScaleUpLimit"),
            ("the metrics ask for 26", "ScaleUpLimit: 8, it may not grow faster"),
            id="limited",
        ),
        pytest.param(
            Decision(10, 2, 12, "x", "SucceededRescale", "ValidMetricFound", "TooManyReplicas"),
            ("the metrics ask for 2", "ScaleDownStabilized: 12, a recent recommendation was higher", "TooManyReplicas: 10, more than the maximum"),
            id="stabilised and limited",
        ),
        pytest.param(
            Decision(4, 8, 4, "", "ScaleUpStabilized", "ValidMetricFound", "DesiredWithinRange"),
            ("the metrics ask for 8", "ScaleUpStabilized: 4, a recent recommendation was lower"),
            id="held from growing",
        ),
    ],
)  # fmt: skip
def test_steps(decision: Decision, lines: tuple[str, ...]) -> None:
    assert decision.steps() == lines


policies = st.builds(Policy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.integers(1, 120))
select = st.sampled_from(["Max", "Min", "Disabled"])
windows = st.integers(0, 120)
some_policies = st.lists(policies, min_size=1, max_size=3).map(tuple)
behaviors = st.none() | st.builds(
    Behavior,
    st.builds(ScaleUp, some_policies, select, windows),
    st.builds(ScaleDown, some_policies, select, st.none() | windows),
)
bounds = st.tuples(st.integers(1, 10), st.integers(0, 40)).map(lambda pair: (pair[0], sum(pair)))
courses = st.lists(st.none() | st.floats(0, 100), min_size=1, max_size=30)
types = st.sampled_from(["AverageValue", "Value"])


@given(bounds, behaviors, types, st.integers(1, 60), courses)
def test_one_sync_is_enough_to_be_within_the_bounds_for_ever(
    limits: tuple[int, int], behavior: Behavior | None, kind: MetricType, replicas: int, course: list[float | None]
) -> None:
    hpa = Hpa(HpaSpec(*limits, behavior))
    for step, value in enumerate(course):
        decision = hpa.sync(step * 15.0, pods(replicas), [Metric(kind, 1.5, value)])
        replicas = decision.desired
        assert limits[0] <= replicas <= limits[1]
        assert decision.steps()


@given(behaviors, st.integers(1, 60), courses)
def test_a_failed_sync_changes_nothing(behavior: Behavior | None, replicas: int, course: list[float | None]) -> None:
    """Neither the count nor, but for the time that passes, what is decided later."""
    one, other = (Hpa(HpaSpec(1, 60, behavior)) for _ in range(2))
    for step, value in enumerate(course):
        expected = sync(one, step * 15, replicas, value)
        assert sync(other, step * 15, replicas, value) == expected
        if step:
            assert sync(other, step * 15, expected.desired, None).desired == expected.desired
        replicas = expected.desired


@given(behaviors, st.integers(1, 60), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_larger_value_never_leads_to_fewer_replicas(
    behavior: Behavior | None, count: int, a: float, b: float
) -> None:
    low, high = sorted((a, b))
    fewer, more = (sync(Hpa(HpaSpec(1, 60, behavior)), 0, count, value).desired for value in (low, high))
    assert fewer <= more
