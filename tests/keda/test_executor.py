from typing import Any

import pytest

from scaler.keda.arithmetic import Metric, MetricType, Pods
from scaler.keda.executor import Executor, MetricResult, Missing, Outcome
from scaler.keda.formula import compiled
from scaler.keda.scalable import Advanced, Fallback, ScaledObject, ScaleTargetRef, ScalingModifiers, Trigger

START = 1_800_000_000.9


def executor(**spec: Any) -> Executor:
    return Executor(ScaledObject(name="shop", scale_target_ref=ScaleTargetRef(name="shop"), triggers=(), **spec), START)


def with_formula(modifiers: ScalingModifiers, **spec: Any) -> Executor:
    """KEDA of two triggers `a` and `b`, whose metrics are `s0-…` and `s1-…`."""
    triggers = tuple(Trigger(type="external", name=name, metadata={}) for name in "ab")
    advanced = Advanced(scaling_modifiers=modifiers)
    owner = ScaledObject(
        name="shop", scale_target_ref=ScaleTargetRef(name="shop"), triggers=triggers, advanced=advanced, **spec
    )
    return Executor(owner, START, compiled(modifiers.formula, "ab"))


def pods(count: int, ready: int | None = None) -> Pods:
    return Pods(count, count, count if ready is None else ready)


def result(value: float | Missing = 0.0, *, active: bool = False, kind: MetricType = "AverageValue") -> MetricResult:
    return MetricResult("s0-q", kind, 5, value, active)


IDLE, BUSY, FAILED = result(0.0), result(12.0, active=True), result(Missing.FAILED)
NO_SPECS, NO_VALUES = result(Missing.NO_SPECS), result(Missing.NO_VALUES)


@pytest.mark.parametrize(
    ("spec", "count", "results", "outcome"),
    [
        pytest.param({}, 0, [BUSY], Outcome(1, True, "ScalerActive"), id="wake"),
        pytest.param({"min_replica_count": 3}, 0, [BUSY], Outcome(3, True, "ScalerActive"), id="wake to the minimum"),
        pytest.param({}, 7, [BUSY], Outcome(7, True, "ScalerActive"), id="above 1 is the HPA's"),
        pytest.param({}, 0, [IDLE, BUSY], Outcome(1, True, "ScalerActive"), id="one active trigger is enough"),
        pytest.param({}, 0, [FAILED, BUSY], Outcome(1, True, "ScalerActive"), id="wake beside an error"),
        pytest.param({}, 4, [FAILED, BUSY], Outcome(4, True, "PartialTriggerError"), id="partial error"),
        pytest.param({}, 0, [result(12.0)], Outcome(0, False, "ScalerNotActive"), id="IsActive alone decides, not the value"),
        pytest.param({}, 9, [IDLE], Outcome(0, False, "ScalerNotActive"), id="never active: no cooldown, to 0 at once"),
        pytest.param({}, 9, [FAILED], Outcome(9, False, "TriggerError"), id="an error holds"),
        pytest.param({}, 9, [NO_SPECS], Outcome(9, False, "TriggerError"), id="unknown metrics hold"),
        pytest.param({}, 9, [IDLE, FAILED], Outcome(9, False, "TriggerError"), id="one error holds"),
        pytest.param({}, 0, [FAILED], Outcome(0, False, "TriggerError"), id="an error wakes nothing"),
        pytest.param({}, 9, [NO_VALUES], Outcome(0, False, "ScalerNotActive"), id="no values are no error"),
        pytest.param({}, 9, [], Outcome(0, False, "ScalerNotActive"), id="no metrics are inactive"),
        pytest.param({"min_replica_count": 2}, 9, [IDLE], Outcome(9, False, "ScalerNotActive"), id="with a minimum the HPA shrinks"),
        pytest.param({"min_replica_count": 2}, 0, [IDLE], Outcome(2, False, "ScalerNotActive"), id="up to the minimum"),
        pytest.param({"min_replica_count": 2, "idle_replica_count": 0}, 9, [IDLE], Outcome(0, False, "ScalerNotActive"), id="idle"),
        pytest.param({"min_replica_count": 2, "idle_replica_count": 0}, 0, [IDLE], Outcome(0, False, "ScalerNotActive"), id="stay idle"),
        pytest.param({"min_replica_count": 3, "idle_replica_count": 1}, 1, [BUSY], Outcome(3, True, "ScalerActive"), id="wake from idle"),
        pytest.param({"initial_cooldown_period": 60}, 9, [IDLE], Outcome(9, False, "ScalerCooldown"), id="initial cooldown"),
    ],
)  # fmt: skip
def test_polls(spec: dict[str, Any], count: int, results: list[MetricResult], outcome: Outcome) -> None:
    assert executor(**spec).poll(START + 1, pods(count), results) == outcome


IN, OUT, FORCED = {"paused_scale_in": True}, {"paused_scale_out": True}, {"force_activation": True}


@pytest.mark.parametrize(
    ("spec", "count", "results", "outcome"),
    [
        pytest.param(IN, 9, [IDLE], Outcome(9, False, "ScalerNotActive"), id="no way to 0"),
        pytest.param({**IN, "min_replica_count": 2, "idle_replica_count": 0}, 9, [IDLE], Outcome(9, False, "ScalerNotActive"), id="nor to idle"),
        pytest.param(IN, 0, [BUSY], Outcome(1, True, "ScalerActive"), id="in: awake as ever"),
        pytest.param(OUT, 0, [BUSY], Outcome(0, True, "ScalerActive"), id="no way from 0"),
        pytest.param({**OUT, "min_replica_count": 3, "idle_replica_count": 1}, 1, [BUSY], Outcome(1, True, "ScalerActive"), id="nor from idle"),
        pytest.param({**OUT, "min_replica_count": 3}, 1, [IDLE], Outcome(3, False, "ScalerNotActive"), id="the minimum is kept all the same"),
        pytest.param(OUT, 9, [IDLE], Outcome(0, False, "ScalerNotActive"), id="out: to 0 as ever"),
        pytest.param(FORCED, 0, [IDLE], Outcome(1, True, "ScalerActive"), id="forced awake"),
        pytest.param({**FORCED, "min_replica_count": 3, "idle_replica_count": 0}, 0, [IDLE], Outcome(3, True, "ScalerActive"), id="to the minimum"),
        pytest.param(FORCED, 4, [IDLE], Outcome(4, True, "ScalerActive"), id="and kept awake"),
        pytest.param(FORCED, 4, [FAILED], Outcome(4, True, "PartialTriggerError"), id="whatever fails"),
        pytest.param({**FORCED, **OUT}, 0, [IDLE], Outcome(0, True, "ScalerActive"), id="a pause is stronger"),
        pytest.param({**IN, "fallback": Fallback(failure_threshold=9, replicas=0)}, 4, [FAILED], Outcome(4, False, "ScalerNotActive"), id="fallback to 0 is held"),
    ],
)  # fmt: skip
def test_polls_under_annotations(
    spec: dict[str, Any], count: int, results: list[MetricResult], outcome: Outcome
) -> None:
    assert executor(**spec).poll(START + 1, pods(count), results) == outcome


def test_a_wake_up_that_is_paused_does_not_count_as_activity() -> None:
    keda = executor(cooldown_period=60, **OUT)
    assert keda.push(START + 100, 0) == Outcome(0, active=True, reason="ScalerActive")
    assert keda.poll(START + 101, pods(3), [IDLE]).replicas == 0


def test_a_formula_alone_decides_at_polls_and_a_push_passes_it_over() -> None:
    """Observed: external-push wakes past activationTarget; an error of one trigger makes the formula inactive."""
    modifiers = ScalingModifiers(formula="a + b", target="5", activation_target="4")
    keda = with_formula(modifiers, cooldown_period=10)
    four = [result(3.0, active=True), result(1.0, active=True)._replace(name="s1-q")]
    assert keda.poll(1_000, pods(0), four) == Outcome(0, active=False, reason="ScalerNotActive")
    assert keda.push(1_001, 0) == Outcome(1, active=True, reason="ScalerActive")
    assert keda.poll(1_005, pods(1), four).reason == "ScalerCooldown"
    assert keda.poll(1_012, pods(1), four).replicas == 0
    more = [IDLE, result(4.1)._replace(name="s1-q")]
    assert keda.poll(1_020, pods(0), more) == Outcome(1, active=True, reason="ScalerActive")
    assert keda.poll(1_030, pods(1), [BUSY, NO_VALUES._replace(name="s1-q")]).active is False
    error = [BUSY, FAILED._replace(name="s1-q")]
    assert keda.poll(1_099, pods(3), error) == Outcome(3, active=False, reason="TriggerError")
    assert keda.for_hpa(pods(3), error) == [Metric("AverageValue", 5, None, "composite-metric")]
    assert keda.for_hpa(pods(3), more) == [Metric("AverageValue", 5, 4.1, "composite-metric")]


def test_scalers_closed_under_a_call_are_neither_an_error_nor_activity() -> None:
    keda = executor(cooldown_period=10, fallback=Fallback(failure_threshold=1, replicas=7))
    keda.poll(1_000, pods(4), [BUSY])
    closed = result(Missing.CACHE_CLOSED)
    assert keda.for_hpa(pods(4), [closed]) == [Metric("AverageValue", 5, None, "s0-q")]
    assert keda.poll(1_005, pods(4), [closed]).reason == "ScalerCooldown"
    assert keda.poll(1_015, pods(4), [closed]) == Outcome(0, active=False, reason="ScalerNotActive")


def test_the_cooldown_counts_from_whole_seconds_and_is_judged_at_polls_only() -> None:
    keda = executor(cooldown_period=10)
    assert keda.poll(1_000.9, pods(1), [BUSY]).reason == "ScalerActive"
    assert keda.poll(1_010.0, pods(1), [IDLE]).reason == "ScalerCooldown"
    assert keda.poll(1_010.1, pods(1), [IDLE]) == Outcome(0, active=False, reason="ScalerNotActive")


def test_the_initial_cooldown_counts_from_whole_seconds() -> None:
    keda = executor(initial_cooldown_period=30)
    assert keda.poll(int(START) + 30, pods(2), [IDLE]).reason == "ScalerCooldown"
    assert keda.poll(int(START) + 30.1, pods(2), [IDLE]).replicas == 0


def test_the_cooldown_runs_on_through_an_outage() -> None:
    keda = executor(cooldown_period=10)
    keda.poll(1_000, pods(3), [BUSY])
    for at in range(1_002, 1_030, 2):
        assert keda.poll(at, pods(3), [FAILED]).replicas == 3
    assert keda.poll(1_030, pods(3), [IDLE]).replicas == 0


def test_a_partial_error_does_not_restart_the_cooldown_but_a_push_does() -> None:
    keda = executor(cooldown_period=10)
    keda.poll(1_000, pods(3), [BUSY])
    keda.poll(1_008, pods(3), [BUSY, FAILED])
    assert keda.poll(1_011, pods(3), [IDLE]).replicas == 0
    keda.poll(2_000, pods(3), [BUSY])
    assert keda.push(2_008, 3) == Outcome(3, active=True, reason="ScalerActive")
    assert keda.poll(2_011, pods(3), [IDLE]).replicas == 3


def test_a_push_wakes_but_not_in_the_moment_after_keda_reached_zero() -> None:
    """Observed: KEDA's cache still shows the old count, so that the push only counts as activity."""
    keda = executor(cooldown_period=10)
    assert keda.push(0, 0).replicas == 1
    assert keda.poll(20, pods(1), [IDLE]).replicas == 0
    assert keda.push(20.01, 0).replicas == 0
    assert keda.push(21, 0).replicas == 1


FALLBACK = Fallback(failure_threshold=2, replicas=7)


def test_fallback_counts_the_failures_of_polls_and_syncs_and_starts_after_the_threshold() -> None:
    keda = executor(fallback=FALLBACK)
    assert keda.poll(0, pods(4), [FAILED]) == Outcome(4, active=False, reason="ScalerNotActive")
    assert keda.for_hpa(pods(4), [FAILED]) == [Metric("AverageValue", 5, None, "s0-q")]
    assert keda.for_hpa(pods(4), [FAILED]) == [Metric("AverageValue", 5, 35, "s0-q")]
    assert keda.poll(30, pods(4), [FAILED]) == Outcome(4, active=True, reason="ScalerActive")
    assert keda.poll(60, pods(0), [FAILED]).replicas == 1  # the HPA goes on from there
    assert keda.for_hpa(pods(4), [result(3.0)]) == [Metric("AverageValue", 5, 3, "s0-q")]
    assert keda.for_hpa(pods(4), [FAILED])[0].value is None


def test_an_empty_answer_resets_fallback_and_unknown_metrics_do_not_count() -> None:
    keda = executor(fallback=FALLBACK)
    for failure in (FAILED, FAILED, NO_VALUES, FAILED, FAILED, NO_SPECS, NO_SPECS):
        assert keda.for_hpa(pods(4), [failure])[0].value is None
    assert keda.for_hpa(pods(4), [FAILED])[0].value == 35


@pytest.mark.parametrize(
    ("behavior", "count", "value"),
    [
        ("static", 4, 35),
        ("currentReplicas", 4, 20),
        ("currentReplicasIfHigher", 4, 35),
        ("currentReplicasIfHigher", 9, 45),
        ("currentReplicasIfLower", 4, 20),
        ("currentReplicasIfLower", 9, 35),
    ],
)
def test_fallback_behaviors(behavior: Any, count: int, value: float) -> None:
    keda = executor(fallback=Fallback(failure_threshold=0, replicas=7, behavior=behavior))
    assert keda.for_hpa(pods(count), [FAILED])[0].value == value


@pytest.mark.parametrize(("ready", "value"), [(2, 17.5), (0, None)])
def test_fallback_of_type_value_divides_by_the_ready_pods(ready: int, value: float | None) -> None:
    keda = executor(fallback=Fallback(failure_threshold=0, replicas=7))
    assert keda.for_hpa(pods(4, ready), [result(Missing.FAILED, kind="Value")])[0].value == value


A_OR_B = ScalingModifiers(formula="a ?? b", target="2")


def test_fallback_with_a_formula_counts_each_trigger_at_polls_and_syncs_and_replaces_the_formula() -> None:
    """`fallback.replicas` of the formula's own target, not the trigger's; another trigger's value does not count."""
    keda = with_formula(A_OR_B, fallback=FALLBACK)
    one_fails = [FAILED, result(8.0)._replace(name="s1-q")]
    assert keda.poll(0, pods(4), one_fails) == Outcome(4, active=False, reason="ScalerNotActive")
    assert keda.for_hpa(pods(4), one_fails) == [Metric("AverageValue", 2, None, "composite-metric")]
    assert keda.for_hpa(pods(4), one_fails) == [Metric("AverageValue", 2, 14, "composite-metric")]
    assert keda.poll(30, pods(4), one_fails).active


def test_fallback_of_behavior_scaling_modifiers_leaves_it_to_the_formula() -> None:
    """KEDA pkg/scaling/modifiers/formula_test.go: nil above the threshold, and replicas times target if all are nil."""
    keda = with_formula(A_OR_B, fallback=Fallback(failure_threshold=1, replicas=7, behavior="scalingModifiers"))
    fine = result(8.0)._replace(name="s1-q")
    assert keda.for_hpa(pods(4), [FAILED, fine])[0].value is None
    assert keda.for_hpa(pods(4), [FAILED, fine])[0].value == 8
    assert keda.poll(0, pods(0), [FAILED, fine]) == Outcome(1, active=True, reason="ScalerActive")
    both = [FAILED, FAILED._replace(name="s1-q")]
    assert keda.poll(30, pods(4), both) == Outcome(4, active=False, reason="ScalerNotActive")  # `b` failed once
    assert keda.for_hpa(pods(4), both) == [Metric("AverageValue", 2, 14, "composite-metric")]
    assert keda.poll(60, pods(4), both).active


def test_a_formula_without_an_answer_to_a_failed_trigger_has_no_value() -> None:
    modifiers = ScalingModifiers(formula="a + b", target="2")
    keda = with_formula(modifiers, fallback=Fallback(failure_threshold=0, replicas=7, behavior="scalingModifiers"))
    failing = [FAILED, BUSY._replace(name="s1-q")]
    assert keda.for_hpa(pods(4), failing)[0].value is None
    assert keda.poll(START + 1, pods(4), failing) == Outcome(0, active=False, reason="ScalerNotActive")


@pytest.mark.parametrize(("target", "value"), [("2", 14), ("2.5", None), ("2.0", None)])
def test_fallback_beside_a_formula_needs_a_whole_target(target: str, value: float | None) -> None:
    modifiers = ScalingModifiers(formula="a ?? b", target=target)
    keda = with_formula(modifiers, fallback=Fallback(failure_threshold=0, replicas=7))
    assert keda.for_hpa(pods(4), [FAILED])[0].value == value


def test_fallback_to_zero_replicas_lets_errors_fall_to_zero() -> None:
    keda = executor(fallback=Fallback(failure_threshold=9, replicas=0))
    assert keda.poll(START + 1, pods(4), [FAILED]).replicas == 0


@pytest.mark.parametrize("behavior", ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"])
@pytest.mark.parametrize("replicas", [0, 2, 3])
@pytest.mark.parametrize("modifiers", [None, ("2", ""), ("2", "4"), ("2", "9"), ("2.5", "4")])
def test_what_an_outage_that_goes_on_ends_at(behavior: Any, replicas: int, modifiers: tuple[str, str] | None) -> None:
    """A fallback that stands in counts as active, but beside a formula by its value."""
    spec: dict[str, Any] = {"fallback": Fallback(failure_threshold=1, replicas=replicas, behavior=behavior)}
    if modifiers is None:
        keda = executor(**spec, cooldown_period=120)
    else:
        formula = ScalingModifiers(formula="a", target=modifiers[0], activation_target=modifiers[1])
        keda = with_formula(formula, **spec, cooldown_period=120)
    keda.poll(START, pods(4), [BUSY])
    count = 4
    for poll in range(1, 10):
        count = keda.poll(START + 30 * poll, pods(count), [FAILED]).replicas
    assert count == (0 if keda.scaled_object.sleeps_on_errors(4) else 4)


def test_cached_metrics_are_those_of_the_last_poll_until_a_read_fails() -> None:
    keda = executor()
    polled = BUSY._replace(cached=True)
    keda.poll(0, pods(1), [polled, BUSY._replace(name="s1-p")])
    assert keda.cached("s0-q") is polled
    assert keda.cached("s1-p") is None
    failed = FAILED._replace(cached=True)
    keda.poll(30, pods(1), [failed])
    assert keda.cached("s0-q") is failed
    keda.for_hpa(pods(1), [failed])
    assert keda.cached("s0-q") is None
