from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.keda.arithmetic import MetricType
from scaler.keda.autoscaler import Autoscaler
from scaler.keda.behavior import Behavior, ScaleDown
from scaler.keda.executor import MetricResult, Outcome
from scaler.keda.hpa import ControllerFlags, Decision
from scaler.keda.scalable import Advanced, HorizontalPodAutoscalerConfig, ScaledObject, ScaleTargetRef


def autoscaler(replicas: int = 0, **spec: Any) -> Autoscaler:
    scaled_object = ScaledObject(name="shop", scale_target_ref=ScaleTargetRef(name="shop"), triggers=(), **spec)
    return Autoscaler(scaled_object, 0, replicas)


def told(value: float) -> list[MetricResult]:
    return [MetricResult("s0-q", "AverageValue", 5, value, value > 0)]


def test_from_zero_up_and_back_to_zero() -> None:
    """KEDA wakes, the HPA grows by its limit and shrinks after its window, KEDA ends it after the cooldown."""
    both = autoscaler(cooldown_period=330, max_replica_count=7)
    counts = []
    for at in range(0, 750, 15):
        load = told(60 if 30 <= at < 90 else 0)
        if at % 30 == 0:
            both.poll(at, load)
        both.sync(at, load if both.looks_at_metrics() else ())
        counts.append(both.replicas)
    # Awake at 30 s. The last recommendation above 1 is of 75 s, so 1 at 375 s. Last active at 60 s, and the first poll
    # later than 60 + 330 s is that at 420 s.
    assert counts == [0, 0, 4, *[7] * 22, *[1] * 3, *[0] * 22]


def test_a_push_wakes_between_polls() -> None:
    both = autoscaler()
    assert both.push(1) == Outcome(1, active=True, reason="ScalerActive")
    assert both.sync(2, told(20)).desired == both.replicas == 4


def test_pods_that_are_not_there_yet() -> None:
    both = autoscaler(1)
    assert both.sync(0, told(5.4), status_replicas=0).desired == 2  # without the tolerance
    both = autoscaler(3)
    value = [MetricResult("s0-q", "Value", 5, 10)]
    assert both.sync(0, value, ready=2).desired == 4


def test_a_pause_holds_everything_and_the_hpa_forgets() -> None:
    both = autoscaler(6, cooldown_period=0)
    both.sync(0, told(30))
    running = both.scaled_object
    both.scaled_object = replace(running, paused=True, paused_replicas=3)
    assert both.replicas == 3
    assert both.poll(1, told(0)) == Outcome(3, active=False, reason="ScaledObjectPaused")
    assert both.push(2) == Outcome(3, active=False, reason="ScaledObjectPaused")
    assert not both.looks_at_metrics()
    paused = both.sync(15, ())
    assert paused == Decision(3, scaling_active="ScaledObjectPaused")
    assert paused.steps() == ("paused by annotation: KEDA has deleted the HPA",)
    both.scaled_object = running
    assert both.sync(30, told(10)).desired == 3  # its first recommendation is 3, no longer 6
    assert both.sync(331, told(10)).desired == 2


def test_an_edit_changes_the_bounds_and_keeps_the_memory() -> None:
    both = autoscaler(6)
    both.sync(0, told(30))
    both.scaled_object = replace(both.scaled_object, max_replica_count=4)
    assert both.sync(15, ()).desired == 4
    both.scaled_object = replace(both.scaled_object, max_replica_count=10)
    assert both.sync(30, told(5)).desired == 6  # 300 s have not passed since it was 6


@pytest.mark.parametrize(
    ("annotation", "loads", "counts"),
    [
        ({}, [60, 10, 60], [2, 4, 2, 4]),
        ({"paused_scale_in": True}, [60, 10, 60], [2, 6, 6, 12]),
        ({"paused_scale_out": True}, [60, 10, 60], [6, 6, 2, 2]),
        ({"paused_scale_in": True, "paused_scale_out": True}, [60, 10, 60], [6, 6, 6, 6]),
    ],
)
def test_the_hpa_moves_in_no_direction_that_an_annotation_pauses(
    annotation: dict[str, bool], loads: list[float], counts: list[int]
) -> None:
    """With a pause there is a `behavior`, and with it the HPA's way up is 4 pods or 100 % in 15 s."""
    behavior = Behavior(scale_down=ScaleDown(stabilization_window_seconds=0)) if annotation else None
    flags = ControllerFlags(downscale_stabilization_seconds=0)
    advanced = Advanced(horizontal_pod_autoscaler_config=HorizontalPodAutoscalerConfig(behavior=behavior))
    scaled_object = autoscaler(advanced=advanced, **annotation).scaled_object
    both = Autoscaler(scaled_object, 0, counts[0], flags)
    seen = [both.replicas]
    for at, load in enumerate(loads):
        both.sync(at * 16.0, told(load))
        seen.append(both.replicas)
    assert seen == counts


def test_an_annotation_that_is_taken_away_gives_the_hpa_its_behavior_back() -> None:
    both = autoscaler(6, cooldown_period=0)
    both.scaled_object = replace(both.scaled_object, paused_scale_in=True)
    both.sync(0, told(10))
    assert both.poll(1, told(0)).replicas == 6
    both.scaled_object = replace(both.scaled_object, paused_scale_in=False)
    assert both.poll(31, told(0)).replicas == 0


def test_an_idle_count_other_than_zero_flaps() -> None:
    """The HPA's minimum is minReplicaCount: it undoes at every sync what KEDA does at every poll (kedacore/keda#2314)."""
    both = autoscaler(3, min_replica_count=3, idle_replica_count=1)
    seen = []
    for _ in range(3):
        seen.append(both.poll(1_000, told(0)).replicas)
        seen.append(both.sync(1_015, ()).desired)
    assert seen == [1, 3] * 3


@pytest.mark.parametrize(
    ("kind", "value", "counts"),
    [("Value", 1.0, [2, 3, 4, 6, 8, 11]), ("AverageValue", 2.0, [2, 3, 3, 3, 3, 3])],
)
def test_a_busy_ratio_of_type_value_compounds_while_new_pods_do_not_beat(
    kind: MetricType, value: float, counts: list[int]
) -> None:
    """All that beats is busy, at a target of 0.75: as the ratio itself, or as the processes that are busy."""
    both = autoscaler(2)
    seen = [both.replicas]
    for at in range(15, 90, 15):
        both.sync(at, [MetricResult("s0-busy", kind, 0.75, value, active=True)])
        seen.append(both.replicas)
    assert seen == counts


_STEPS = st.lists(
    st.tuples(st.sampled_from(["poll", "push", "sync"]), st.floats(0.1, 400), st.sampled_from([0.0, 4.0, 30.0, 900.0])),
    max_size=40,
)


@given(_STEPS, st.sampled_from([{}, {"idle_replica_count": 0, "min_replica_count": 2}]), st.booleans())
def test_no_course_of_events_moves_replicas_where_an_annotation_holds_them(
    steps: list[tuple[str, float, float]],
    spec: dict[str, Any],
    scale_in: bool,  # noqa: FBT001 - drawn
) -> None:
    """With paused-scale-in they never fall; with paused-scale-out they never rise, but for the HPA's minimum."""
    pause = {"paused_scale_in": True} if scale_in else {"paused_scale_out": True}
    keda, now = autoscaler(5, max_replica_count=50, cooldown_period=60, **spec, **pause), 1_000.0
    for kind, seconds, value in steps:
        now, before = now + seconds, keda.replicas
        if kind == "poll":
            keda.poll(now, told(value))
        elif kind == "push":
            keda.push(now)
        else:
            keda.sync(now, told(value) if keda.looks_at_metrics() else ())
        assert keda.replicas >= before if scale_in else keda.replicas <= before
