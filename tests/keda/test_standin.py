"""KEDA's polls and the HPA's syncs as the stand-in makes them, call by call."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from scaler.keda.executor import Missing
from scaler.keda.findings import ManifestError
from scaler.keda.formula import FormulaError
from scaler.keda.scalable import Advanced, Fallback, ScaledObject, ScaleTargetRef, ScalingModifiers, Trigger
from scaler.keda.standin import StandIn
from scaler.pb.externalscaler_pb2 import GetMetricSpecResponse, MetricSpec

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
Play = Callable[..., Any]


async def test_a_poll_asks_for_specs_value_and_activity_and_strips_the_prefix(play: Play) -> None:
    stage = play()
    event = await stage.next("poll")
    assert stage.scaler.calls == ["GetMetricSpec", "GetMetricSpec", "GetMetrics q", "IsActive"]  # the first: the HPA
    ref = stage.scaler.refs[0]
    assert (ref.name, ref.namespace) == ("shop", "eu")
    assert dict(ref.scalerMetadata) == {"scalerAddress": "x:9", "source": "sqs"}
    assert (event.replicas, event.active, event.reason, event.at) == (0, False, "ScalerNotActive", stage.clock.wall())
    assert event.results[0][:4] == ("s0-q", "AverageValue", 5, 0)
    assert stage.scaler.opened.empty()  # streams are for external-push


async def test_from_zero_up_and_back(play: Play) -> None:
    """Polls at 0, 2, 4 … s, syncs at 2.7, 5.4 … s; the cooldown of 5 s counts from the poll at 6 s."""
    stage = play()
    start = stage.clock.now()
    await stage.next("poll")
    stage.scaler.value = 33
    assert (await stage.next("poll")).replicas == 1
    sync = await stage.next("sync")
    assert (sync.replicas, sync.reason, sync.decision.proposal) == (4, "s0-q above target", 7)
    assert (await stage.next("poll")).replicas == 4
    assert (await stage.next("sync")).replicas == 7
    assert (await stage.next("poll")).active
    assert stage.clock.now() == start + 6
    stage.scaler.value = 0
    assert (await stage.next("poll")).reason == "ScalerCooldown"
    assert (await stage.next("sync")).decision.scaling_limited == "TooFewReplicas"
    assert [(await stage.next("poll")).reason for _ in range(2)] == ["ScalerCooldown", "ScalerNotActive"]
    assert stage.clock.now() == start + 12
    assert stage.scaled == [1, 4, 7, 1, 0]
    assert (await stage.next("sync")).reason == "ScalingDisabled"


async def test_the_hpa_asks_every_trigger_for_specs_before_each_metric(play: Play) -> None:
    """With T triggers of one metric a sync takes T² + 2 T calls, none of them at 0 replicas."""
    stage = play(*[Trigger(type="external", metadata={"source": name}) for name in "ab"], polling_interval=900)
    await stage.next("poll")
    stage.scaler.calls.clear()
    await stage.next("sync")
    assert stage.scaler.calls == []
    stage.scaler.value = 1
    await stage.next("poll")
    stage.scaler.calls.clear()
    sync = await stage.next("sync")
    assert [result.name for result in sync.results] == ["s0-q", "s1-q"]
    assert stage.scaler.calls == ["GetMetricSpec", "GetMetricSpec", "GetMetrics q", "IsActive"] * 2


async def test_one_trigger_without_specs_blinds_the_hpa_to_the_others(play: Play) -> None:
    stage = play(*[Trigger(type="external", metadata={"source": name}) for name in "ab"], initial_replicas=2)
    stage.scaler.value = 50
    await stage.next("poll")
    stage.scaler.broken_source = "b"
    poll = await stage.next("poll")
    assert [result.value for result in poll.results] == [50, Missing.NO_SPECS]
    sync = await stage.next("sync")
    assert [(result.name, result.value) for result in sync.results] == [
        ("s0-q", Missing.NO_SPECS),
        ("s1-q", Missing.NO_SPECS),
    ]
    assert (sync.reason, sync.replicas) == ("FailedGetExternalMetric", 2)


async def test_a_renamed_metric_is_lost_to_the_hpa(play: Play) -> None:
    """KEDA writes the HPA anew only when it reconciles: until then the HPA asks for the old name."""
    stage = play(initial_replicas=2)
    stage.scaler.value = 50
    await stage.next("poll")
    stage.scaler.targets = stage.scaler.specs(renamed=5)
    sync = await stage.next("sync")
    assert (sync.results[0].name, sync.results[0].value) == ("s0-q", Missing.NO_VALUES)
    assert (sync.reason, sync.replicas) == ("FailedGetExternalMetric", 2)


async def test_a_cached_metric_costs_the_hpa_the_specs_only(play: Play) -> None:
    stage = play(Trigger(type="external", metadata={}, use_cached_metrics=True))
    stage.scaler.value = 12
    await stage.next("poll")
    assert (await stage.next("poll")).replicas == 1
    stage.scaler.calls.clear()
    stage.scaler.value = 500
    sync = await stage.next("sync")
    assert stage.scaler.calls == ["GetMetricSpec"]
    assert sync.decision.proposal == 3


@pytest.mark.parametrize("rpc", ["GetMetrics", "IsActive"])
async def test_a_failing_call_is_tried_once_more(play: Play, rpc: str) -> None:
    stage = play()
    stage.scaler.value, stage.scaler.failing, stage.scaler.fails_left = 12, {rpc: UNAVAILABLE}, 1
    event = await stage.next("poll")
    assert event.replicas == 1
    assert event.errors == (f"{rpc}: UNAVAILABLE: no luck",)
    assert stage.scaler.calls.count("GetMetrics q") == 2


@pytest.mark.parametrize(
    ("rpc", "missing", "calls"),
    [
        ("GetMetrics", Missing.FAILED, ["GetMetricSpec", "GetMetrics q", "GetMetrics q"]),
        ("IsActive", Missing.FAILED, ["GetMetricSpec", *["GetMetrics q", "IsActive"] * 2]),
        ("GetMetricSpec", Missing.NO_SPECS, ["GetMetricSpec", "GetMetricSpec"]),
    ],
)
async def test_an_error_holds_the_replicas(play: Play, rpc: str, missing: Missing, calls: list[str]) -> None:
    """At 3 replicas, the scaler fails and the queue empties; 20 s later it is well again."""
    stage = play()
    stage.scaler.value = 12
    await stage.next("poll")
    assert (await stage.next("sync")).replicas == 3
    stage.scaler.failing, stage.scaler.value = {rpc: UNAVAILABLE}, 0
    stage.scaler.calls.clear()
    poll = await stage.next("poll")
    assert stage.scaler.calls == calls
    assert (poll.reason, poll.replicas, poll.results[0].value) == ("TriggerError", 3, missing)
    assert poll.errors == (f"{rpc}: UNAVAILABLE: no luck",) * 2
    sync = await stage.next("sync")
    assert (sync.reason, sync.replicas) == ("FailedGetExternalMetric", 3)
    assert [(await stage.next("poll")).replicas for _ in range(7)] == [3] * 7
    stage.scaler.failing.clear()
    assert (await stage.next("poll")).replicas == 0  # the cooldown ran on


async def test_fallback_stands_in_for_a_failing_metric(play: Play) -> None:
    stage = play(fallback=Fallback(failure_threshold=1, replicas=6), initial_replicas=3)
    stage.scaler.failing = {"GetMetrics": UNAVAILABLE}
    assert not (await stage.next("poll")).active
    assert (await stage.next("poll")).active
    assert (await stage.next("sync")).replicas == 6


async def test_nothing_runs_before_the_hpa_could_be_made(play: Play) -> None:
    """Neither with failing specs nor with a target that rounds to 0; KEDA tries again, ever more slowly."""
    stage = play()
    stage.loops = 1
    stage.scaler.targets = stage.scaler.specs(q=0.0004)
    event = await stage.next("reconcile")
    assert (event.reason, event.replicas) == ("ScaledObjectCheckFailed", 0)
    await stage.next("reconcile")
    stage.scaler.failing = {"GetMetricSpec": UNAVAILABLE}
    assert (await stage.next("reconcile")).errors == ("GetMetricSpec: UNAVAILABLE: no luck",) * 2
    assert "GetMetrics q" not in stage.scaler.calls
    stage.scaler.failing, stage.scaler.targets = {}, stage.scaler.specs(q=5)
    await stage.asleep()
    await stage.clock.advance(0.02)
    stage.loops = 2
    await stage.next("poll")
    assert stage.clock.now() == pytest.approx(1_000 + 0.005 + 0.01 + 0.02)


async def test_a_trigger_that_failed_at_first_is_left_out_until_polls_have_failed_and_are_well(play: Play) -> None:
    stage = play(*[Trigger(type="external", metadata={"source": name}) for name in "ab"], initial_replicas=1)
    stage.scaler.value = 5
    stage.scaler.failing, stage.scaler.fails_left = {"GetMetricSpec": UNAVAILABLE}, 2  # the two tries for the first
    assert [result.name for result in (await stage.next("poll")).results] == ["s0-q", "s1-q"]
    assert [result.name for result in (await stage.next("sync")).results] == ["s1-q"]
    stage.scaler.failing, stage.scaler.fails_left = {"GetMetrics": UNAVAILABLE}, 99
    await stage.next("poll")
    stage.scaler.failing = {}
    await stage.next("poll")
    assert [result.name for result in (await stage.next("sync")).results] == ["s0-q", "s1-q"]


async def test_whole_numbers_of_scalers_before_floats(play: Play) -> None:
    stage = play()
    stage.scaler.whole = True
    stage.scaler.targets = GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName="q", targetSize=4)])
    stage.scaler.value = 9
    assert (await stage.next("poll")).results[0][2:4] == (4, 9)


async def test_a_paused_object_is_only_brought_to_its_count(play: Play) -> None:
    stage = play(paused=True, paused_replicas=2, initial_replicas=5)
    await asyncio.wait_for(stage.running, 10)
    assert stage.scaled == [2]
    assert stage.scaler.calls == []


async def test_the_environment_is_the_one_given(play: Play) -> None:
    stage = play(Trigger(type="external", metadata={"urlFromEnv": "URL"}), env={"URL": "redis://here"})
    await stage.next("poll")
    assert dict(stage.scaler.refs[0].scalerMetadata) == {"urlFromEnv": "redis://here"}


async def scale(_replicas: int) -> None:
    """Scale nothing."""


def shop(*triggers: Trigger) -> ScaledObject:
    reference = ScaleTargetRef(name="shop")
    return ScaledObject(name="shop", file="f.yaml", line=3, scale_target_ref=reference, triggers=triggers)


async def test_a_repr_tells_no_secret() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        scaled_object = shop(Trigger(type="external", metadata={"url": "here"}))
        stand_in = StandIn(scaled_object, channel, scale, env={"URL": "there"})
        assert "here" not in repr(stand_in) + repr(scaled_object)


async def test_an_object_without_external_triggers_is_refused() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(ManifestError, match=r"^f\.yaml:3: shop has no trigger of type external or external-push$"):
            StandIn(shop(Trigger(type="cron", metadata={})), channel, scale)


async def test_a_formula_that_cannot_be_worked_out_is_refused(play: Play) -> None:
    """It is not left out, because the replicas would then follow the triggers."""
    advanced = Advanced(scaling_modifiers=ScalingModifiers(formula="now() ?? a", target="5"))
    with pytest.raises(FormulaError, match="the function `now` is not known here"):
        play(Trigger(type="external", name="a", metadata={}), advanced=advanced)


FORMULA = Advanced(scaling_modifiers=ScalingModifiers(formula="a + b", target="5", activation_target="30"))


async def test_with_a_formula_the_hpa_sees_it_alone_and_polls_go_by_it(play: Play) -> None:
    """A sync of T triggers is then one query: T specs, T values."""
    triggers = [Trigger(type="external", name=name, metadata={"source": name}) for name in "ab"]
    stage = play(*triggers, advanced=FORMULA)
    stage.scaler.value = 15
    assert not (await stage.next("poll")).active  # 30 is not above 30, though both triggers are active
    stage.scaler.value = 16
    assert (await stage.next("poll")).replicas == 1
    stage.scaler.calls.clear()
    sync = await stage.next("sync")
    assert [(result.name, result.value) for result in sync.results] == [("s0-q", 16), ("s1-q", 16)]
    assert (sync.reason, sync.decision.proposal) == ("composite-metric above target", 7)
    assert stage.scaler.calls == ["GetMetricSpec"] * 2 + ["GetMetrics q", "IsActive"] * 2
    stage.scaler.broken_source = "b"
    poll = await stage.next("poll")
    assert [result.active for result in poll.results] == [True, False]
    assert (poll.reason, poll.active, poll.replicas) == ("TriggerError", False, 4)
    assert (await stage.next("sync")).reason == "FailedGetExternalMetric"


@pytest.mark.parametrize(
    ("annotation", "counts"),
    [
        ("paused_scale_in", [1, 5, 5, 5, 5]),
        ("paused_scale_out", [0, 0, 0, 0, 0]),
        ("force_activation", [1, 4, 7, 1, 1]),
    ],
)
async def test_annotations_hold_the_replicas(play: Play, annotation: str, counts: list[int]) -> None:
    """Work for 6 s, then none for long: after a wake-up, two syncs, a sync without work, and the cooldown.

    A pause gives the HPA a `behavior`, and with one it grows by 4 pods or 100 % in 15 s.
    """
    stage = play(**{annotation: True})
    stage.scaler.value = 33
    seen = [(await stage.next("poll")).replicas]
    seen += [(await stage.next("sync")).replicas for _ in range(2)]
    stage.scaler.value = 0
    seen.append((await stage.next("sync")).replicas)
    for _ in range(5):
        last = await stage.next("poll")
    assert [*seen, last.replicas] == counts
