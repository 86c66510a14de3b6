"""How many Jobs KEDA starts: the tables are those of KEDA's own tests, scale_jobs_test.go and metrics_test.go."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.keda.executor import MetricResult, Missing
from scaler.keda.jobs import Demand, JobCounts, Started, demand, effective_max, poll
from scaler.keda.scalable import ScaledJob, ScalingStrategy


def scaled_job(least: int = 0, most: int = 100, calculation: str = "max", **strategy: Any) -> ScaledJob:
    return ScaledJob(
        name="orders",
        triggers=(),
        min_replica_count=least,
        max_replica_count=most,
        scaling_strategy=ScalingStrategy(multiple_scalers_calculation=calculation, **strategy),
    )


def told(value: float | Missing, target: float = 1, *, active: bool = True) -> MetricResult:
    return MetricResult("s0-q", "AverageValue", target, value, active)


CUSTOM, HALF = "custom_scaling_queue_length_deduction", "custom_scaling_running_job_percentage"


@pytest.mark.parametrize(
    ("strategy", "scale", "running", "pending", "most", "expected"),
    [
        ({}, 3, 2, 0, 5, (1, 1)),
        ({}, 2, 0, 0, 5, (2, 1)),
        ({"strategy": "custom", CUSTOM: 1, HALF: "0.5"}, 3, 2, 0, 5, (1, 1)),
        ({"strategy": "custom", CUSTOM: 1, HALF: "0.5"}, 10, 0, 0, 10, (9, 1)),
        ({"strategy": "custom"}, 3, 2, 0, 5, (1, 1)),
        ({"strategy": "custom", CUSTOM: 1, HALF: ""}, 3, 2, 0, 5, (1, 1)),
        ({"strategy": "custom", CUSTOM: 2, HALF: "0"}, 3, 2, 0, 5, (1, 1)),
        ({"strategy": "custom", CUSTOM: -2, HALF: "0"}, 3, 2, 0, 4, (4, 1)),
        ({"strategy": "accurate"}, 3, 2, 0, 5, (3, 1)),
        ({"strategy": "accurate"}, 5, 2, 0, 5, (3, 1)),
        ({"strategy": "accurate"}, 3, 4, 2, 10, (1, 1)),
        ({"strategy": "accurate"}, 5, 4, 2, 5, (1, 1)),
        ({"strategy": "eager"}, 4, 3, 0, 10, (4, 10)),
        ({"strategy": "eager"}, 4, 0, 3, 10, (4, 10)),
        ({"strategy": "eager"}, 4, 7, 0, 10, (3, 10)),
        ({"strategy": "eager"}, 4, 1, 6, 10, (3, 10)),
        ({"strategy": "eager"}, 15, 0, 0, 10, (10, 10)),
    ],
)
def test_strategies(  # noqa: PLR0917 - the columns of KEDA's table
    strategy: dict[str, Any], scale: int, running: int, pending: int, most: int, expected: tuple[int, int]
) -> None:
    wanted = Demand(active=True, queue_length=1, max_scale=scale)
    assert effective_max(ScalingStrategy(**strategy), wanted, JobCounts(running, pending), most) == expected


FOUR = [[told(20, 1)], [told(10, 2)], [told(5, 3)], [told(7, 4, active=False)]]


@pytest.mark.parametrize(
    ("job", "answers", "expected"),
    [
        pytest.param(scaled_job(), [[told(20, 2)]], Demand(True, 20, 10), id="one trigger"),
        pytest.param(scaled_job(), [[told(0, 2, active=False)]], Demand(False, 0, 0), id="inactive"),
        pytest.param(scaled_job(), FOUR, Demand(True, 20, 20), id="max"),
        pytest.param(scaled_job(calculation="min"), FOUR, Demand(True, 5, 2), id="min"),
        pytest.param(scaled_job(calculation="avg"), FOUR, Demand(True, 12, 9), id="avg"),
        pytest.param(scaled_job(calculation="sum"), FOUR, Demand(True, 35, 27), id="sum"),
        pytest.param(scaled_job(most=25, calculation="sum"), FOUR, Demand(True, 35, 25), id="bounded"),
        pytest.param(scaled_job(least=1), [[told(0)]], Demand(True, 0, 0), id="a minimum is always active"),
        pytest.param(scaled_job(), [[told(0)]], Demand(False, 0, 0), id="active without a queue is inactive"),
        pytest.param(scaled_job(), [[told(9, active=False)]], Demand(False, 0, 0), id="a queue without activity too"),
        pytest.param(scaled_job(), [[told(11, 5), told(900, 1)]], Demand(True, 11, 4), id="the first metric, the mean target"),
        pytest.param(scaled_job(calculation="avg"), [[told(10), told(900)]], Demand(True, 5, 5), id="the others halve an average"),
        pytest.param(scaled_job(), [[told(Missing.FAILED)], [told(3)]], Demand(True, 3, 3), id="an error is passed over"),
        pytest.param(scaled_job(), [[], [told(3)]], Demand(True, 3, 3), id="unknown metrics too"),
        pytest.param(scaled_job(), [[told(Missing.NO_VALUES)]], Demand(False, 0, 0), id="no values are 0"),
        pytest.param(scaled_job(), [], Demand(False, 0, 0), id="nothing"),
    ],
)  # fmt: skip
def test_demand(job: ScaledJob, answers: Sequence[Sequence[MetricResult]], expected: Demand) -> None:
    assert demand(job, answers) == expected


@pytest.mark.parametrize(
    ("job", "answers", "jobs", "started", "reason"),
    [
        pytest.param(scaled_job(), [[told(11)]], JobCounts(), 11, "ScalerActive", id="a Job for each message"),
        pytest.param(scaled_job(), [[told(11, 5)]], JobCounts(), 3, "ScalerActive", id="or for each five"),
        pytest.param(scaled_job(), [[told(11)]], JobCounts(4, 4), 7, "ScalerActive", id="less those that run"),
        pytest.param(scaled_job(), [[told(3)]], JobCounts(4), 0, "ScalerActive", id="never less than none"),
        pytest.param(scaled_job(strategy="accurate"), [[told(11)]], JobCounts(4, 3), 8, "ScalerActive", id="less those that are pending"),
        pytest.param(scaled_job(most=10, strategy="eager"), [[told(3)]], JobCounts(4, 1), 3, "ScalerActive", id="eager"),
        pytest.param(scaled_job(most=10, strategy="what"), [[told(30)]], JobCounts(4), 6, "ScalerActive", id="unknown is default"),
        pytest.param(scaled_job(2, 10), [[told(0, active=False)]], JobCounts(), 2, "ScalerActive", id="up to the minimum"),
        pytest.param(scaled_job(2, 10), [[told(0, active=False)]], JobCounts(1), 1, "ScalerActive", id="the rest of the minimum"),
        pytest.param(scaled_job(1), [[told(2)]], JobCounts(1), 2, "ScalerActive", id="the minimum does not work on the queue"),
        pytest.param(scaled_job(2, 10), [[told(50)]], JobCounts(2), 8, "ScalerActive", id="min and max"),
        pytest.param(scaled_job(), [[told(Missing.FAILED)]], JobCounts(), 0, "TriggerError", id="an error starts nothing"),
        pytest.param(scaled_job(), [[told(Missing.FAILED)], [told(3)]], JobCounts(), 3, "PartialTriggerError", id="half an error"),
        pytest.param(scaled_job(), [[]], JobCounts(), 0, "ScalerNotActive", id="a failing GetMetricSpec goes unnoticed"),
        pytest.param(scaled_job(), [[told(Missing.CACHE_CLOSED)]], JobCounts(), 0, "ScalerNotActive", id="closed scalers too"),
    ],
)  # fmt: skip
def test_polls(
    job: ScaledJob, answers: Sequence[Sequence[MetricResult]], jobs: JobCounts, started: int, reason: str
) -> None:
    outcome = poll(job, answers, jobs)
    assert (outcome.jobs, outcome.reason) == (started, reason)


def test_a_pause_starts_nothing() -> None:
    paused = ScaledJob(name="orders", triggers=(), paused=True)
    assert poll(paused, [[told(11)]], JobCounts()) == Started(0, Demand(False, 0, 0), "ScaledJobPaused")


@given(
    st.sampled_from(["default", "custom", "accurate", "eager"]),
    st.sampled_from(["max", "min", "avg", "sum"]),
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 50), st.booleans()), max_size=4),
    st.integers(0, 20),
    st.integers(1, 50),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_never_above_the_maximum(  # noqa: PLR0917 - drawn one by one
    strategy: str,
    calculation: str,
    triggers: list[tuple[float, int, bool]],
    least: int,
    most: int,
    running: int,
    pending: int,
) -> None:
    """With `custom`, if every running Job is deducted."""
    job = scaled_job(min(least, most), most, calculation, strategy=strategy, custom_scaling_running_job_percentage="1")
    answers = [[told(value, target, active=active)] for value, target, active in triggers]
    started = poll(job, answers, JobCounts(running, min(pending, running))).jobs
    assert started >= 0
    assert started == 0 or running + started <= most
