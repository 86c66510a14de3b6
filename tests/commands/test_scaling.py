"""What `explain` says that KEDA and the HPA make of answers: the ways that KEDA holds, and those in which it moves."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.commands.scaling import of_job, of_object
from scaler.keda.scalable import (
    Advanced,
    Fallback,
    ScaledJob,
    ScaledObject,
    ScaleTargetRef,
    ScalingModifiers,
    ScalingStrategy,
    Trigger,
)


def scaled_object(**spec: Any) -> ScaledObject:
    return ScaledObject(name="shop", scale_target_ref=ScaleTargetRef(name="shop"), triggers=(), **spec)


def told(value: float | None, *, active: bool) -> dict[str, Any]:
    error = {"code": "UNAVAILABLE", "message": "away"} if value is None else None
    metrics = [{"name": "q", "value": value, "target": 5.0}]
    return {"index": 0, "metricType": "AverageValue", "metrics": metrics, "active": active, "error": error}


BUSY, IDLE, BELOW, FAILED = (
    told(30, active=True),
    told(0, active=False),
    told(30, active=False),  # inactive by its activation threshold
    told(None, active=False),
)
IN, OUT, FORCED = {"paused_scale_in": True}, {"paused_scale_out": True}, {"force_activation": True}
MIN_IDLE = {"min_replica_count": 3, "idle_replica_count": 0}
TO_ZERO, TO_MANY = (Fallback(failure_threshold=3, replicas=replicas) for replicas in (0, 50))


@pytest.mark.parametrize(
    ("spec", "trigger", "replicas", "desired", "said"),
    [
        pytest.param({}, BUSY, 0, 4, "active: KEDA scales from 0 to 1 at once", id="wake, then the HPA"),
        pytest.param(OUT, BUSY, 0, 0, "active: but for the annotation KEDA would scale from 0 to 1", id="out, at 0"),
        pytest.param(OUT, BUSY, 2, 2, "ScaleUpLimit: 2", id="out, above 0"),
        pytest.param({**MIN_IDLE, **OUT}, BUSY, 0, 0, "would scale from 0 to 3", id="out, idle"),
        pytest.param(MIN_IDLE, BUSY, 0, 6, "active: KEDA scales from 0 to 3 at once", id="wake from idle"),
        pytest.param({}, IDLE, 4, 0, "inactive: KEDA scales to 0 once nothing was active", id="sleep"),
        pytest.param(MIN_IDLE, IDLE, 4, 0, "inactive: KEDA scales to 0 once nothing was active", id="sleep to idle"),
        pytest.param(IN, IDLE, 4, 4, "inactive: but for the annotation KEDA would scale to 0", id="in"),
        pytest.param(IN, BELOW, 4, 6, "inactive: but for the annotation KEDA would scale to 0", id="in: up goes on"),
        pytest.param({**IN, **OUT}, BELOW, 4, 4, "paused-scale-out", id="in and out"),
        pytest.param(IN, IDLE, 0, 0, "an HPA does nothing at 0 replicas", id="in, at 0"),
        pytest.param(FORCED, IDLE, 0, 1, "active: KEDA scales from 0 to 1 at once", id="forced"),
        pytest.param(FORCED, IDLE, 4, 1, "force-activation: KEDA takes every trigger for active", id="forced: the HPA shrinks"),
        pytest.param(FORCED, FAILED, 4, 4, "it could not be read", id="forced under a failure"),
        pytest.param({"paused": True}, BUSY, 3, 3, "paused by annotation: KEDA holds it at its replicas", id="paused"),
        pytest.param({"paused": True, "paused_replicas": 2, **FORCED}, BUSY, 3, 2, "KEDA holds it at 2 replicas", id="paused at a count"),
        pytest.param({}, FAILED, 4, 4, "unless it misses the error", id="a failure holds, mostly"),
        pytest.param({"min_replica_count": 1}, FAILED, 4, 4, "KEDA keeps the 4 replicas", id="with a minimum it holds"),
        pytest.param({"fallback": TO_ZERO}, FAILED, 4, 4, "fallback.replicas is 0: while a trigger fails KEDA scales to 0 after cooldownPeriod 300 s, and goes to 1, the nearest to fallback.replicas 0 that the HPA may choose, after more than 3", id="fallback to zero"),
        pytest.param({"fallback": TO_ZERO, **IN}, FAILED, 4, 4, "KEDA keeps the 4 replicas", id="fallback to zero, in"),
        pytest.param({"fallback": TO_MANY, "max_replica_count": 10}, FAILED, 4, 4, "and goes to 10, the nearest to", id="fallback beyond the maximum"),
        pytest.param({"min_replica_count": 3}, IDLE, 1, 3, "below minReplicaCount: KEDA scales from 1 to 3", id="up to the minimum"),
        pytest.param({"min_replica_count": 3, **OUT}, IDLE, 1, 3, "below minReplicaCount", id="which no pause stops"),
    ],
)  # fmt: skip
def test_replicas(spec: dict[str, Any], trigger: dict[str, Any], replicas: int, desired: int, said: str) -> None:
    found = of_object(scaled_object(**spec), [trigger], 0, replicas)
    assert found["desired"] == desired, found["lines"]
    assert said in "\n".join(found["lines"])


@pytest.mark.parametrize("spec", [{"min_replica_count": 1}, IN])
def test_who_cannot_fall_to_zero_is_told_of_no_fault_of_keda(spec: dict[str, Any]) -> None:
    assert "misses" not in "\n".join(of_object(scaled_object(**spec), [FAILED], 0, 4)["lines"])


def with_formula(formula: str, activation_target: str = "2", **spec: Any) -> ScaledObject:
    modifiers = ScalingModifiers(formula=formula, target="5", activation_target=activation_target)
    triggers = tuple(Trigger(type="external", name=name, metadata={}) for name in "abc")
    return replace(scaled_object(advanced=Advanced(scaling_modifiers=modifiers), **spec), triggers=triggers)


@pytest.mark.parametrize(
    ("owner", "replicas", "desired", "said"),
    [
        (with_formula("a + b / 2"), 4, 7, "a + b / 2 = 32"),
        (with_formula("a + b / 2"), 0, 4, "active: KEDA scales from 0 to 1 at once"),
        (with_formula("a + b / 2", "32"), 4, 0, "inactive: KEDA scales to 0 once nothing was active"),
        (with_formula("a - 100", **FORCED), 0, 1, "active: KEDA scales from 0 to 1 at once"),
        (with_formula("a > 5 ? a : 0"), 4, 6, "a > 5 ? a : 0 = 30"),
        (with_formula("a > 50 ? a : 0"), 4, 0, "inactive: KEDA scales to 0"),
        (with_formula("count([a, b], {# > 5}) * 12"), 4, 3, "count([a, b], {# > 5}) * 12 = 12"),
        (with_formula("duration('1h') + a"), 4, None, "not worked out here: the function `duration` is not known here"),
        (with_formula("a % 2"), 4, None, "not worked out here: `%` needs whole numbers"),
        (with_formula("[a, b][int(b)]"), 4, None, "not worked out here: it has no value with those of the triggers"),
        (with_formula("a + cron"), 4, None, "not worked out here: no trigger has the name cron"),
        (with_formula("a + b + c"), 4, None, "not worked out here: trigger c is of another scaler"),
    ],
)
def test_a_formula(owner: ScaledObject, replicas: int, desired: int | None, said: str) -> None:
    """The activity of the triggers does not count."""
    found = of_object(owner, [BUSY, {**told(4, active=False), "index": 1}], 0, replicas)
    assert found["desired"] == desired, found["lines"]
    assert said in "\n".join(found["lines"])


@pytest.mark.parametrize(
    ("behavior", "said"),
    [
        ("static", "and goes to fallback.replicas 2 after more than 3 failures in a row"),
        ("currentReplicas", "and fallback keeps those that there are then after more than 3 failures"),
        ("currentReplicasIfHigher", "and goes to fallback.replicas 2, unless there are more, after more than 3"),
        ("currentReplicasIfLower", "and goes to fallback.replicas 2, unless there are fewer, after more than 3"),
        ("scalingModifiers", "and works the formula out with nil for that trigger after more than 3 failures"),
    ],
)
def test_what_fallback_will_do(behavior: Any, said: str) -> None:
    owner = with_formula("a ?? b", fallback=Fallback(failure_threshold=3, replicas=2, behavior=behavior))
    assert said in "\n".join(of_object(owner, [FAILED], 0, 4)["lines"])
    halves = replace(owner, advanced=Advanced(scaling_modifiers=ScalingModifiers(formula="a ?? b", target="2.5")))
    assert "fallback does nothing beside a scalingModifiers.target" in "\n".join(
        of_object(halves, [FAILED], 0, 4)["lines"]
    )


@pytest.mark.parametrize(
    ("replicas", "behavior", "target", "desired", "said"),
    [
        (0, "static", "5", 0, "fallback's value 0 is not above activationTarget"),
        (2, "static", "5", 0, "KEDA keeps the 4 replicas that there are while a trigger fails, and scales to 0 after"),
        (3, "static", "5", 4, "goes to fallback.replicas 3 after more than 3 failures"),
        (0, "currentReplicas", "5", 4, "fallback keeps those that there are then"),
        (2, "currentReplicasIfLower", "5", 0, "fallback's value 10 is not above activationTarget"),
        (2, "currentReplicasIfHigher", "5", 4, "unless there are more"),
        (0, "scalingModifiers", "5", 4, "works the formula out with nil"),
        (0, "static", "2.5", 0, "fallback does nothing beside a scalingModifiers.target"),
    ],
)
def test_fallback_beside_a_formula_is_active_by_its_value(
    replicas: int, behavior: Any, target: str, desired: int, said: str
) -> None:
    fallback = Fallback(failure_threshold=3, replicas=replicas, behavior=behavior)
    modifiers = ScalingModifiers(formula="a ?? b", target=target, activation_target="12")
    owner = replace(with_formula("a", fallback=fallback), advanced=Advanced(scaling_modifiers=modifiers))
    found = of_object(owner, [FAILED], 0, 4)
    assert (found["desired"], said in "\n".join(found["lines"])) == (desired, True), found["lines"]


def test_fallback_wakes_from_zero_only_since_a_version_of_keda() -> None:
    owner = replace(scaled_object(), fallback=Fallback(failure_threshold=3, replicas=2))
    told = {count: "\n".join(of_object(owner, [FAILED], 0, count)["lines"]) for count in (0, 4)}
    assert "failures in a row (from 0 replicas since KEDA 2.19: before it polls pass fallback over)" in told[0]
    assert "2.19" not in told[4]


def test_an_error_of_one_trigger_makes_the_formula_inactive_and_holds() -> None:
    found = of_object(with_formula("a + b"), [BUSY, {**FAILED, "index": 1}], 0, 4)
    assert found["desired"] == 4
    assert "KEDA keeps the 4 replicas" in found["lines"][1]


def test_other_triggers_may_keep_it() -> None:
    found = of_object(scaled_object(), [IDLE], 1, 4)
    assert "inactive" not in "\n".join(found["lines"])
    assert of_object(scaled_object(), [IDLE], 1, 0)["lines"] == [
        "an HPA does nothing at 0 replicas; KEDA alone leaves 0"
    ]


@pytest.mark.parametrize(
    ("spec", "trigger", "running", "said"),
    [
        ({}, BUSY, None, "a poll that finds 0 of them running starts 6, by its scalingStrategy default: queue length 30, 6 by the targets"),
        ({}, BUSY, 4, "finds 4 of them running starts 2,"),
        ({"scaling_strategy": ScalingStrategy(strategy="eager"), "max_replica_count": 9}, BUSY, 4, "starts 5, by its scalingStrategy eager"),
        ({}, IDLE, None, "inactive: a poll starts none"),
        ({}, FAILED, None, "KEDA starts none while a trigger fails"),
        ({"min_replica_count": 2}, IDLE, None, "starts 2, "),
        ({"paused": True}, BUSY, None, "paused by annotation: KEDA does not poll, and starts none"),
    ],
)  # fmt: skip
def test_jobs(spec: dict[str, Any], trigger: dict[str, Any], running: int | None, said: str) -> None:
    found = of_job(ScaledJob(name="orders", triggers=(), **spec), [trigger], 0, running)
    assert said in "\n".join(found["lines"])
    assert (found["replicas"], found["desired"]) == (None, None)


def test_jobs_of_other_triggers_are_not_known() -> None:
    lines = of_job(ScaledJob(name="orders", triggers=()), [IDLE], 1, None)["lines"]
    assert lines[-1] == "triggers of other scalers are left out here"
