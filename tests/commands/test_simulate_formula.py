"""Simulations of a ScaledObject whose metric is a formula of `scalingModifiers`."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.simulate import Options, SimulationError, Subject, changed, simulate, subject_of
from scaler.commands.trace import Trace
from tests.commands.subjects import subject

SQS = {"source": "sqs", "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}
TWO_METRICS = {"source": "sidekiq", "redis": "main", "queues": "a", "queueLength": "5"}
HELD = {"source": "sidekiq", "redis": "main", "queues": "a", "spareBusy": "hold"}


def modified(formula: str, metadata: dict[str, str], **modifiers: str) -> Subject:
    return subject({"advanced": {"scalingModifiers": {"formula": formula, "target": "5", **modifiers}}}, metadata)


def test_polls_go_by_the_formula_alone() -> None:
    """The trigger is active with 20 messages all along; the formula is above its activationTarget up to 300 s."""
    trace = Trace((0.0, 300.0, 1500.0), {"value": (30.0, 20.0, 20.0)})
    run = simulate(modified("orders - 15", SQS, activationTarget="10"), trace, Options())
    assert max(run.replicas[:300]) == 3
    assert run.replicas[-1] == 0


@pytest.mark.parametrize(
    ("formula", "metadata", "modifiers", "said"),
    [
        ("orders + mail", SQS, {}, "formula: it is not known how to work it out: no trigger has the name mail"),
        ("orders % 2", SQS, {}, "formula: it is not known how to work it out: `%` needs whole numbers"),
        ("now() ?? orders", SQS, {}, "formula: it is not known how to work it out: the function `now` is not known"),
        ("orders", SQS, {"target": "0"}, "target: must be above 0"),
        ("orders", TWO_METRICS, {}, "formula: takes one metric of each trigger, but the trigger has sidekiq-busy-a, "),
        (
            "orders",
            HELD,
            {},
            "formula: takes one metric of each trigger, but the trigger has sidekiq-busy-a, sidekiq-held",
        ),
    ],
)
def test_a_formula_of_which_a_part_is_unknown_is_refused(
    formula: str, metadata: dict[str, str], modifiers: dict[str, str], said: str
) -> None:
    with pytest.raises(SimulationError, match=f"^{re.escape(f'scalingModifiers.{said}')}"):
        modified(formula, metadata, **modifiers)


def test_the_target_of_a_formula_can_be_swept() -> None:
    """20 messages ask for 4 replicas at 5, and for 2 at 10."""
    trace = Trace((0.0, 600.0), {"value": (20.0, 20.0)})
    chosen = modified("orders", SQS)
    assert simulate(chosen, trace, Options()).replicas[-1] == 4
    other = changed(chosen.scaled_object, 0, "scalingModifiers.target", "10")
    assert simulate(subject_of(other, 0), trace, Options()).replicas[-1] == 2
    with pytest.raises(SimulationError, match=r"scalingModifiers\.target: 'x' is not a number"):
        changed(chosen.scaled_object, 0, "scalingModifiers.target", "x")


MANIFEST = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop}
spec:
  scaleTargetRef: {name: shop}
  minReplicaCount: 1
  advanced: {scalingModifiers: {formula: FORMULA, target: "5"}}
  triggers:
    - {name: orders, type: external, metadata: {scalerAddress: "s:9090", source: sqs, queueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}}
    - OTHER
"""
OURS = '{name: mail, type: external, metadata: {scalerAddress: "s:9090", source: sqs, queueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/mail"}}'
CRON = '{name: day, type: cron, metadata: {timezone: UTC, start: "0 6 * * *", end: "0 9 * * *", desiredReplicas: "3"}}'


@pytest.mark.parametrize(
    ("command", "formula", "other", "said"),
    [
        ("simulate", "orders + mail", OURS, "has 2 triggers of this scaler in ScaledObjects; give a file with one, and a number instead of each other trigger in its formula"),
        ("simulate", "max([orders, day])", CRON, "scalingModifiers.formula: it uses day, of which the trace says nothing; simulate a copy of the manifest with a number in the formula instead"),
        ("advise", "orders", CRON, "compare targets with scaler simulate --sweep scalingModifiers.target=FROM:TO:STEP"),
    ],
)  # fmt: skip
def test_what_to_do_where_the_trace_is_not_enough(
    tmp_path: Path, command: str, formula: str, other: str, said: str
) -> None:
    manifest, trace = tmp_path / "shop.yaml", tmp_path / "load.csv"
    manifest.write_text(MANIFEST.replace("FORMULA", f"'{formula}'").replace("OTHER", other))
    trace.write_text("time,arrivals\n0,1\n600,1\n")
    goal = ["--goal", "p95 wait <= 30s"] if command == "advise" else []
    done = CliRunner().invoke(app, [command, str(manifest), "--trace", str(trace), *goal])
    assert isinstance(done.exception, SimulationError)
    assert said in str(done.exception)
