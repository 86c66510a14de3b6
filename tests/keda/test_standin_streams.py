"""The streams of `external-push` triggers as the stand-in keeps them open."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from scaler.keda.hpa import ControllerFlags
from scaler.keda.scalable import Advanced, ScalingModifiers, Trigger

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
Play = Callable[..., Any]
PUSH = Trigger(type="external-push", metadata={"source": "sqs"})


async def test_a_push_wakes_at_once_and_a_false_is_ignored(play: Play) -> None:
    stage = play(PUSH)
    await stage.next("poll")
    for message in (False, True, False, True, grpc.StatusCode.OK):
        stage.scaler.activity.put_nowait(message)
    stage.loops = 3
    await stage.asleep()
    events = [stage.events.get_nowait() for _ in range(stage.events.qsize())]
    assert [(event.cause, event.replicas, event.active, event.reason) for event in events] == [
        ("push", 1, True, "ScalerActive"),
        ("push", 1, True, "ScalerActive"),
    ]
    assert stage.scaled == [1]
    assert stage.scaler.calls.count("GetMetrics q") == 1  # a push asks nothing


async def test_a_stream_is_reopened_after_growing_pauses_that_only_a_good_end_resets(play: Play) -> None:
    stage = play(PUSH, polling_interval=900, flags=ControllerFlags(900))
    await stage.next("poll")
    first = {await asyncio.wait_for(stage.scaler.opened.get(), 10) for _ in range(2)}
    assert first == {("StreamIsActive", 1_000), ("StreamMetricSpec", 1_000)}
    stage.loops = 3
    ends = [UNAVAILABLE, UNAVAILABLE, grpc.StatusCode.OK, *[grpc.StatusCode.UNIMPLEMENTED] * 6, grpc.StatusCode.OK]
    for end, pause in zip(ends, [2, 4, 2, 4, 8, 16, 32, 60, 60, 2], strict=True):
        stage.scaler.activity.put_nowait(end)
        await stage.asleep()
        ended = stage.clock.now()
        await stage.clock.advance(pause)
        assert await asyncio.wait_for(stage.scaler.opened.get(), 10) == ("StreamIsActive", ended + pause)
    assert stage.scaler.opened.empty()  # a server that has no StreamMetricSpec is not asked for it again


async def test_specs_that_came_before_an_error_reset_the_pause(play: Play) -> None:
    """KEDA's main, pkg/scalers/external_scaler.go, runStreamMetricSpec; StreamIsActive is not so."""
    stage = play(PUSH, polling_interval=900, flags=ControllerFlags(900))
    stage.scaler.spec_stream = asyncio.Queue()
    await stage.next("poll")
    for _ in range(2):
        await asyncio.wait_for(stage.scaler.opened.get(), 10)
    stage.loops = 3
    for specs, pause in zip([True, True, False, False, True], [2, 2, 4, 8, 2], strict=True):
        if specs:
            stage.scaler.spec_stream.put_nowait(stage.scaler.specs(q=5))
        stage.scaler.spec_stream.put_nowait(UNAVAILABLE)
        await stage.asleep()
        ended = stage.clock.now()
        await stage.clock.advance(pause)
        assert await asyncio.wait_for(stage.scaler.opened.get(), 10) == ("StreamMetricSpec", ended + pause)


async def test_streamed_specs_stand_in_for_asked_ones(play: Play) -> None:
    stage = play(PUSH, initial_replicas=4)
    stage.scaler.spec_stream = asyncio.Queue()
    stage.scaler.value = 40
    await stage.next("poll")
    stage.scaler.spec_stream.put_nowait(stage.scaler.specs(renamed=20))
    await stage.until("poll", lambda event: event.results[0].name == "s0-renamed")
    stage.scaler.calls.clear()
    sync = await stage.next("sync")
    assert (sync.results[0].name, sync.decision.proposal) == ("s0-renamed", 2)
    await stage.next("poll")
    assert "GetMetricSpec" not in stage.scaler.calls


@pytest.mark.parametrize(("replicas", "cause"), [(0, "poll"), (4, "sync")])
async def test_one_error_drops_the_streamed_specs(play: Play, replicas: int, cause: str) -> None:
    """Be it of a poll (at 0 replicas a sync reads nothing) or of a sync (here far more often than a poll)."""
    stage = play(PUSH, polling_interval=2 if cause == "poll" else 100, initial_replicas=replicas)
    stage.scaler.spec_stream = asyncio.Queue()
    stage.scaler.active = replicas > 0
    await stage.next(cause)
    stage.scaler.spec_stream.put_nowait(stage.scaler.specs(renamed=20))
    await stage.until(cause, lambda event: event.results[0].name == "s0-renamed")
    stage.scaler.failing, stage.scaler.fails_left = {"IsActive": UNAVAILABLE}, 2
    assert (await stage.next(cause)).results[0].failed
    stage.scaler.calls.clear()
    await stage.next(cause)
    assert "GetMetricSpec" in stage.scaler.calls


async def test_an_empty_streamed_list_scales_to_zero_under_waiting_work(play: Play) -> None:
    stage = play(PUSH)
    stage.scaler.spec_stream = asyncio.Queue()
    stage.scaler.value = 40
    assert (await stage.next("poll")).replicas == 1
    stage.scaler.spec_stream.put_nowait(stage.scaler.specs())
    assert (await stage.until("poll", lambda event: not event.replicas)).results == ()
    stage.scaler.spec_stream.put_nowait(stage.scaler.specs(q=5))
    assert (await stage.until("poll", lambda event: event.replicas > 0)).active


async def test_an_hpa_update_is_refused_if_keda_scaled_meanwhile(play: Play) -> None:
    """A push that comes while the HPA reads wins; the sync decides nothing."""
    stage = play(PUSH, min_replica_count=3, idle_replica_count=0, initial_replicas=4, flags=ControllerFlags(1))
    stage.scaler.active, stage.scaler.value = True, 50
    await stage.next("poll")
    stage.scaler.hold = asyncio.Event()
    await stage.asleep()
    await stage.clock.advance(1)
    await asyncio.wait_for(stage.scaler.held.wait(), 10)
    stage.stand_in._autoscaler.replicas = 1  # as if by hand
    stage.scaler.activity.put_nowait(True)
    assert (await stage.heard()).replicas == 3
    stage.scaler.hold.set()
    await stage.asleep()
    assert stage.events.empty()
    assert (await stage.next("sync")).replicas == 6


async def test_a_push_wakes_past_the_formula_and_the_next_polls_take_it_down_again(play: Play) -> None:
    modifiers = ScalingModifiers(formula="a > 30 ? a : 0", target="5", activation_target="50")
    push = Trigger(type="external-push", name="a", metadata={})
    stage = play(
        push,
        advanced=Advanced(scaling_modifiers=modifiers),
        formula=lambda values: values["a"] if values["a"] > 30 else 0,
    )
    stage.scaler.value = 20
    assert (await stage.next("poll")).reason == "ScalerNotActive"
    stage.scaler.activity.put_nowait(True)
    assert (await stage.until("push", lambda event: event.replicas == 1)).active
    assert (await stage.until("poll", lambda event: event.replicas == 0)).reason == "ScalerNotActive"


async def test_a_push_wakes_nothing_while_scale_out_is_paused(play: Play) -> None:
    stage = play(PUSH, paused_scale_out=True)
    await stage.next("poll")
    stage.scaler.activity.put_nowait(True)
    event = await stage.until("push", lambda event: True)
    assert (event.replicas, event.reason) == (0, "ScalerActive")
    assert stage.scaled == []
