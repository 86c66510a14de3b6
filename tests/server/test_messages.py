"""The messages that KEDA is sent: targets and values, exact and as old KEDA takes them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.answers.scaledobject import Question
from scaler.core.domain import Assessment, Metric
from scaler.demo.scripted import ScriptedTrigger
from scaler.server.service import MAX_VALUE, metrics_messages, specs_message
from scaler.sources.base import NAMESPACE

# Messages


def specs(**metadata: str) -> list[tuple[str, int, float]]:
    trigger = ScriptedTrigger.model_validate({NAMESPACE: "shop", "source": "scripted", "spots": "a", **metadata})
    message = specs_message(Question(trigger))
    return [(spec.metricName, spec.targetSize, spec.targetSizeFloat) for spec in message.metricSpecs]


@pytest.mark.parametrize(
    ("target", "whole", "exact"),
    [("5", 5, 5.0), ("0.75", 1, 0.75), ("0.001", 1, 0.001), ("1.0001", 2, 1.0001), ("1e12", 10**12, 1e12)],
)
def test_targets_are_exact_and_for_old_keda_whole_and_at_least_one(target: str, whole: int, exact: float) -> None:
    assert specs(target=target) == [("scripted", whole, exact)]


def test_every_spec_is_told_in_order() -> None:
    assert [name for name, *_ in specs(second="2")] == ["scripted", "scripted-second"]


def test_a_target_beyond_64_bits_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedTrigger, "specs", lambda _: (type("Spec", (), {"name": "big", "target": 2.0**63}),))
    assert specs() == [("big", 10**12, 1e12)]


def values(*numbers: float) -> list[tuple[int, float]]:
    metrics = tuple(Metric(f"m{index}", number) for index, number in enumerate(numbers))
    messages = metrics_messages(Assessment(metrics, active=True, reasons=()))
    assert [message.metricValues[0].metricName for message in messages] == [metric.name for metric in metrics]
    assert all(len(message.metricValues) == 1 for message in messages)
    return [(message.metricValues[0].metricValue, message.metricValues[0].metricValueFloat) for message in messages]


def test_values_are_exact_and_for_old_keda_rounded_up() -> None:
    assert values(0, 0.2, 3, 7.5) == [(0, 0.0), (1, 0.2), (3, 3.0), (8, 7.5)]


@given(st.floats(0, 1e300) | st.integers(0, 2**80))
def test_a_value_is_what_it_is_or_the_cap_that_the_hpa_can_read(number: float) -> None:
    ((whole, exact),) = values(number)
    assert exact == min(number, MAX_VALUE)
    assert whole == math.ceil(exact)
    assert (whole == 0) == (number == 0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1, -1e-9])
def test_what_is_no_number_of_things_is_never_told(number: float) -> None:
    with pytest.raises(ArithmeticError, match="metric m1 is"):
        Metric("m1", number)
