"""What a real KEDA and HPA did, replayed: from what they read and when, the same decisions must follow."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scaler.keda.autoscaler import Autoscaler
from scaler.keda.executor import MetricResult, Missing
from scaler.keda.hpa import ControllerFlags, Decision
from scaler.keda.manifests import parse
from scaler.keda.scalable import ScaledObject

TRACES = sorted((Path(__file__).parent / "fixtures" / "traces").iterdir())
JITTER = 0.25


@dataclass
class Step:
    """A poll or a sync with what it read, a push, an edit or a scaling by hand, and what was observed of it."""

    at: float
    kind: str
    values: dict[str, float | None] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    status_replicas: int = 0
    observed: dict[str, Any] = field(default_factory=dict)


@dataclass
class Replay:
    """What a replay decided: at every sync, beside what was observed, and in KEDA's place."""

    syncs: list[tuple[float, Decision, dict[str, Any]]] = field(default_factory=list)
    keda: list[tuple[float, int]] = field(default_factory=list)


def load(path: Path) -> dict[str, Any]:
    trace: dict[str, Any] = json.loads(path.read_text())
    return trace


def gathered(events: list[dict[str, Any]]) -> Iterator[Step]:
    """Gather events to polls and syncs: those of one are less than half a second apart."""
    status, metric = 0, ""
    poll = sync = Step(-9, "")
    for event in events:
        at, what = event["t"], event["event"]
        if what == "status_replicas":
            status = event["value"]
        elif what.startswith("poll_"):
            if at > poll.at + 0.5:
                poll = Step(at, "poll")
                yield poll
            poll.at, metric = at, event.get("metric", metric)
            if what == "poll_read":
                poll.values[metric] = event["value"]
            else:
                poll.active[metric] = event["active"]
        elif what.startswith("hpa_"):
            if at > sync.at + 0.5:
                sync = Step(at, "sync", status_replicas=status)
                yield sync
            sync.at = at
            if what == "hpa_read":
                sync.values[event["metric"]] = event["value"]
            else:
                sync.observed |= event
        elif what in {"push", "edit", "manual_scale"}:
            yield Step(at, what, observed=event)


def merged(target: Any, patch: Any) -> Any:
    """Return `target` after a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def scaled_object(document: dict[str, Any]) -> ScaledObject:
    (found,) = parse(json.dumps(document)).objects  # JSON is YAML
    assert isinstance(found, ScaledObject)
    return found


def replay(trace: dict[str, Any]) -> Replay:
    """Drive an autoscaler through a trace; from its own decisions, right or wrong, it goes on."""
    document = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "trace"},
        "spec": {**trace["scaledObjectSpec"], "scaleTargetRef": {"name": "worker"}},
    }
    flags = ControllerFlags(
        trace["hpaSyncPeriodSeconds"], trace["hpaDownscaleStabilizationSeconds"], trace["hpaTolerance"]
    )
    start, result = trace["startUnixTime"], Replay()
    autoscaler = Autoscaler(scaled_object(document), start, trace["initialReplicas"], flags)
    kind = autoscaler.scaled_object.triggers[0].target_type
    for step in sorted(gathered(trace["events"]), key=lambda step: step.at):
        before, now = autoscaler.replicas, start + step.at
        results = [
            MetricResult(
                f"s0-{name}",
                kind,
                trace["targets"][name],
                Missing.FAILED if value is None else value,
                active=value is not None and step.active.get(name, False),
            )
            for name, value in step.values.items()
        ]
        if step.kind == "sync":
            ready = None if trace["podsReady"] else 0
            decision = autoscaler.sync(now, results, step.status_replicas, ready)
            result.syncs.append((step.at, decision, step.observed))
        elif step.kind == "manual_scale":
            autoscaler.replicas = step.observed["replicas"]
        else:
            if step.kind == "poll":
                autoscaler.poll(now, results)
            elif step.kind == "edit":
                document = merged(document, step.observed["patch"])
                autoscaler.scaled_object = scaled_object(document)
            elif step.observed["active"]:
                autoscaler.push(now)
            if autoscaler.replicas != before:
                result.keda.append((step.at, autoscaler.replicas))
    return result


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_every_decision_of_the_hpa_from_metrics(path: Path) -> None:
    for at, decision, observed in replay(load(path)).syncs:
        if "proposal" in observed:
            came_to = observed.get("to", observed.get("desired"))
            expected = (observed["proposal"], came_to, observed.get("reason", ""))
            assert (decision.proposal, decision.desired, decision.reason) == expected, at


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_every_change_by_keda(path: Path) -> None:
    trace = load(path)
    observed = [
        (event["t"], event["value"])
        for event in trace["events"]
        if event["event"] == "replicas" and event["by"] == "keda"
    ]
    decided = replay(trace).keda
    assert [count for _, count in decided] == [count for _, count in observed]
    assert [at for at, _ in decided] == pytest.approx([at for at, _ in observed], abs=JITTER)


def test_the_syncs_without_metrics_and_that_nothing_was_left_out() -> None:
    """Syncs at 0, outside the bounds, or stopped by a failed metric; one began just before KEDA's 0 → 1 was there."""
    proposals = bounds = disabled = failed = changes = 0
    odd = []
    for path in TRACES:
        result = replay(load(path))
        changes += len(result.keda)
        for at, decision, observed in result.syncs:
            if "proposal" in observed:
                proposals += 1
            elif not observed:
                failed += 1
                assert decision.scaling_active == "FailedGetExternalMetric"
            elif decision.desired != observed.get("to", observed.get("desired")):
                odd.append((path.stem, at))
            elif decision.reason:
                bounds += 1
                assert decision.reason == observed["reason"]
            else:
                disabled += 1
                assert decision.scaling_active == "ScalingDisabled"
    assert (proposals, bounds, disabled, failed, changes) == (840, 2, 184, 46, 23)
    assert odd == [("poll-10-cooldown-15", 10.143)]
