"""KEDA's own fault in an outage, as it was measured on KEDA 2.20.2: who answers errors can lose a busy workload.

Measured with 20 ScaledObjects (poll 5 s, cooldown 10 s) whose scaler is active with 20 jobs and from then on only
answers UNAVAILABLE: within 60 s 16 fell from 4 replicas to 0 with errors after 1 s and an HPA sync of 1 s, 8 with the
default sync of 15 s, 1 with errors after 20 ms.
"""

import random
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from scaler.keda.executor import Missing
from scaler.keda.hpa import ControllerFlags
from scaler.keda.scalable import Fallback

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
Play = Callable[..., Any]


async def outlasts(play: Play, seed: int, rpc: str, sync_seconds: float, error_seconds: float, **options: Any) -> bool:
    """Play one workload into an outage of 60 s; tell whether it still has its 4 replicas.

    Polls and syncs have another phase for every seed, as for the ScaledObjects of a cluster, and are never at once.
    """
    chance = random.Random(seed)
    flags = ControllerFlags(sync_seconds * chance.uniform(0.85, 1.15), downscale_stabilization_seconds=0)
    stage = play(polling_interval=5, cooldown_period=10, flags=flags, **options)
    stage.scaler.value, stage.scaler.failing = 20, {}
    while stage.stand_in.replicas < 4:
        await stage.next("sync")
    await stage.pass_time(chance.uniform(10, 25))
    stage.scaler.fails_after = lambda: error_seconds * chance.uniform(0.9, 1.1)
    stage.scaler.failing = {rpc: UNAVAILABLE} if rpc else {}
    await stage.pass_time(60)
    kept = stage.stand_in.replicas
    await stage.end()
    assert kept in {0, 4}
    return bool(kept)


async def lost(
    play: Play, sync_seconds: float, error_seconds: float, rpc: str = "GetMetrics", runs: int = 3, **options: Any
) -> int:
    return sum([not await outlasts(play, seed, rpc, sync_seconds, error_seconds, **options) for seed in range(runs)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sync_seconds", "error_seconds", "least", "most"),
    [(1, 1, 13, 20), (15, 1, 4, 12), (15, 0.02, 0, 2)],
    ids=["slow errors, many syncs", "slow errors", "quick errors"],
)
async def test_errors_lose_workloads_the_more_the_slower_they_are(
    play: Play, sync_seconds: float, error_seconds: float, least: int, most: int
) -> None:
    assert least <= await lost(play, sync_seconds, error_seconds, runs=20) <= most


async def test_an_outage_of_the_scaler_itself_takes_the_same_path(play: Play) -> None:
    assert await lost(play, 1, 1, "GetMetricSpec") == 3


async def test_fallback_does_not_help(play: Play) -> None:
    fallback = Fallback(failure_threshold=100, replicas=6)
    assert await lost(play, 1, 1, fallback=fallback) == 3


@pytest.mark.parametrize(
    ("rpc", "options"),
    [
        pytest.param("", {}, id="the last value is told on"),
        pytest.param("GetMetrics", {"notes_closed_scalers": True}, id="a KEDA that notes the error"),
        pytest.param("GetMetrics", {"paused_scale_in": True}, id="paused-scale-in"),
        pytest.param("GetMetrics", {"force_activation": True}, id="force-activation"),
        pytest.param("GetMetrics", {"min_replica_count": 4}, id="a minimum"),
    ],
)
async def test_holding_never_loses_one(play: Play, rpc: str, options: dict[str, Any]) -> None:
    assert await lost(play, 1, 1, rpc, **options) == 0


async def test_how_it_comes_about(play: Play) -> None:
    """The HPA's query, begun before the poll, ends during the poll's first call and closes the scalers under it."""
    stage = play(polling_interval=10, cooldown_period=1, initial_replicas=4, flags=ControllerFlags(9))
    stage.scaler.value = 20
    assert (await stage.next("poll")).active
    stage.scaler.failing, stage.scaler.fails_after = {"GetMetrics": UNAVAILABLE}, lambda: 0.7
    stage.scaler.calls.clear()
    sync = await stage.next("sync")  # from 9 s to 10.4 s, its retry included
    assert (sync.results[0].value, sync.replicas) == (Missing.FAILED, 4)
    poll = await stage.next("poll")  # from 10 s; what failed at 10.7 s is not tried again
    assert poll.at == pytest.approx(sync.at + 0.3)
    assert [result.value for result in poll.results] == [Missing.CACHE_CLOSED]
    assert (poll.reason, poll.active, poll.replicas) == ("ScalerNotActive", False, 0)
    assert stage.scaler.calls.count("GetMetrics q") == 3


async def test_a_poll_that_fails_closes_the_scalers_under_the_hpa(play: Play) -> None:
    """The HPA then gets no value either, and holds."""
    stage = play(polling_interval=10, initial_replicas=4, flags=ControllerFlags(11))
    stage.scaler.value = 20
    await stage.next("poll")
    stage.scaler.failing, stage.scaler.fails_after = {"GetMetrics": UNAVAILABLE}, lambda: 0.7
    stage.scaler.calls.clear()
    poll = await stage.next("poll")  # from 10 s to 11.4 s, its retry included
    assert (poll.reason, poll.replicas) == ("TriggerError", 4)
    sync = await stage.next("sync")  # from 11 s; what failed at 11.7 s is not tried again
    assert [result.value for result in sync.results] == [Missing.CACHE_CLOSED]
    assert (sync.reason, sync.replicas) == ("FailedGetExternalMetric", 4)
    assert stage.scaler.calls.count("GetMetrics q") == 3


async def test_two_runs_of_the_same_seed_are_the_same(play: Play) -> None:
    async def course() -> list[tuple[str, float, int]]:
        chance = random.Random(7)
        stage = play(polling_interval=5, cooldown_period=10, flags=ControllerFlags(1.03))
        started = stage.clock.now()
        stage.scaler.value, stage.scaler.failing = 20, {}
        await stage.pass_time(20.5)
        stage.scaler.fails_after, stage.scaler.failing = lambda: chance.uniform(0.5, 1.5), {"GetMetrics": UNAVAILABLE}
        await stage.pass_time(40)
        await stage.end()
        events = [stage.events.get_nowait() for _ in range(stage.events.qsize())]
        return [(event.reason, round(event.at - 1_799_999_000 - started, 6), event.replicas) for event in events]

    first, second = await course(), await course()
    assert len(first) > 20
    assert first == second
