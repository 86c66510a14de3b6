"""Metadata from the workload's environment in a simulation, which reads nothing and so needs no address."""

import pytest

from scaler.commands.judging import SimulationError, Subject
from tests.commands import subjects


def subject(**metadata: str) -> Subject:
    return subjects.subject({}, {"source": "sqs", **metadata})


@pytest.mark.parametrize("region", [{}, {"awsRegion": "eu-central-1"}, {"awsRegionFromEnv": "REGION"}])
def test_a_queue_from_the_environment_needs_none(region: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "eu-central-1")
    monkeypatch.delenv("QUEUE", raising=False)
    (spec,) = subject(queueURLFromEnv="QUEUE", **region).trigger.specs()
    assert spec.name == "sqs-queue"


def test_a_target_from_the_environment_is_asked_for_and_then_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"queueURL": "q", "awsRegion": "eu-central-1", "queueLengthFromEnv": "LENGTH"}
    monkeypatch.delenv("LENGTH", raising=False)
    with pytest.raises(SimulationError, match="queueLengthFromEnv: set LENGTH in the environment of this command"):
        subject(**metadata)
    monkeypatch.setenv("LENGTH", "7")
    (spec,) = subject(**metadata).trigger.specs()
    assert spec.target == 7
