"""Deletion costs on real readings: a Valkey with heartbeats, our server, and the API's double with a ReplicaSet."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import generate_latest

from scaler.answers.pod_costs import COST
from scaler.commands.text import lines
from scaler.core.clock import SystemClock
from scaler.core.errors import Fault, NotAllowedError
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_paths import Refusal, Rule
from scaler.demo.kubernetes_replicas import ReplicaSet
from scaler.demo.valkey import Valkey
from tests.answers.sparing_scene import CLOCK, Scene, StampClock

LOOKS = Rule(("list", "watch"), ("",), ("pods",), ("shop",))
WRITES = Rule(("patch",), ("",), ("pods",), ("shop",))


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as started:
        yield started


@pytest.fixture
async def scene(valkey: Valkey) -> AsyncIterator[Scene]:
    redis: Any = valkey.client()
    await redis.flushall()
    await redis.execute_command("ACL", "SETUSER", "default", "-info")  # which would tell that it has just started
    stamps = StampClock()
    api = KubernetesDouble(tokens={"": (LOOKS, WRITES)}, clock=stamps)
    await api.start()
    made = Scene(valkey, api, stamps, redis)
    yield made
    await made.server.close()
    await api.stop()
    await redis.aclose()


async def test_scale_in_takes_idle_pods_first(scene: Scene) -> None:
    """As it will be tried on a real cluster: 20 pods, 6 busy, to 8, and to 4."""
    names, _ = scene.replicas.scale(20)
    busy = names[-6:]  # the youngest, which Kubernetes takes first
    for number, name in enumerate(names):
        await scene.beat(name, *([2.0**number] if name in busy else []))
    scaled_object = await scene.ask()
    await scene.settle()
    assert scaled_object.spared is not None
    assert (scaled_object.spared.pods, scaled_object.spared.busy, scaled_object.spared.writing) == (20, 6, True)
    assert {name for name, cost in scene.costs().items() if cost is not None} == set(busy), "idle is 0 without it"
    _, ending = scene.replicas.scale(8)
    assert not set(ending) & set(busy)
    await scene.settle()
    _, ending = scene.replicas.scale(4)
    assert [name for name in ending if name in busy] == busy[:2], "the two with the least to lose"


async def test_without_the_trigger_asking_for_it_nothing_is_read_or_written(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    await scene.beat(names[0], 60.0)
    scaled_object = await scene.ask(spareBusy="off")
    await scene.settle()
    assert scaled_object.spared is None
    assert not scene.api.requests


async def test_a_pod_that_turns_idle_is_lowered_and_one_that_starts_to_work_is_raised(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    for name, ages in zip(names, ([300.0], [], []), strict=True):
        await scene.beat(name, *ages)
    await scene.ask()
    await scene.settle()
    assert scene.costs() == {names[0]: "9", names[1]: None, names[2]: None}
    scene.server.sparing._written.clear()
    await scene.beat(names[0])
    await scene.beat(names[1], 300.0)
    await scene.ask()
    await scene.settle()
    assert scene.costs() == {names[0]: "0", names[1]: "9", names[2]: None}


async def test_pods_of_another_tenant_are_never_touched(scene: Scene) -> None:
    names, _ = scene.replicas.scale(2)
    other = ReplicaSet(scene.api, CLOCK, "other", "worker-6d5f")
    for name in names:
        await scene.beat(name, 60.0)
        scene.api.put("pods", _pod("other", name))
    await scene.beat(other.scale(1)[0][0], 60.0)
    await scene.ask(countWaiting="true", busyRatio="5")
    await scene.settle()
    assert set(scene.costs()) == set(names)
    assert all(scene.costs().values())
    assert not any(scene.costs("other").values())


def _pod(namespace: str, name: str) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "worker-6d5f", "uid": "rs", "controller": True}
    metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Running"}}


async def test_an_annotation_of_somebody_else_is_left_alone_and_told(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    for name in names:
        await scene.beat(name, 60.0)
    theirs = next(pod for pod in scene.replicas.pods() if pod["metadata"]["name"] == names[0])
    theirs["metadata"]["annotations"] = {COST: "-5"}
    scene.api.put("pods", theirs)
    explained = await _explained(scene, busyRatio="5")
    await scene.settle()
    assert scene.costs() == {names[0]: "-5", names[1]: "6", names[2]: "6"}
    assert explained["leftAlone"] == 1
    assert "of somebody else" in explained["problems"][0]


async def _explained(scene: Scene, **metadata: str) -> dict[str, Any]:
    scaled_object = await scene.ask(**metadata)
    await scene.server.sparing.look(scaled_object)
    spared: dict[str, Any] = scene.server.explainer.view(scaled_object)["spareBusy"]
    return spared


async def test_without_the_right_the_trigger_scales_and_says_what_is_missing(scene: Scene) -> None:
    assert scene.api.tokens is not None
    scene.api.tokens[""] = ()  # type: ignore[index]  # a test takes rights away
    names, _ = scene.replicas.scale(2)
    await scene.beat(names[0], 60.0)
    scaled_object = await scene.ask()
    assert scaled_object.told is not None
    assert scaled_object.told.metrics[0].value > 0
    await scene.settle()
    spared = scene.server.explainer.view(scaled_object)["spareBusy"]
    assert spared["failing"]
    assert "list and watch" in spared["problems"][0]
    assert "spareBusy.namespaces: [shop]" in spared["problems"][0]
    page = generate_latest(scene.server.metrics.registry).decode()
    assert 'spare_busy_failing{namespace="shop",scaledobject="worker",trigger="sidekiq-busy-default"} 1.0' in page
    assert "spareBusy.namespaces" in "\n".join(lines(_owner(scene.server.explainer.view(scaled_object)), served=True))


def _owner(view: dict[str, Any]) -> dict[str, Any]:
    trigger = {**view, "index": 0, "type": "external", "warnings": []}
    scaling = {"replicas": None, "desired": None, "lines": []}
    owner = {"kind": "ScaledObject", "namespace": "shop", "name": "worker", "file": "", "line": 1, "warnings": []}
    return {**owner, "triggers": [trigger], "otherTriggers": 0, "scaling": scaling}


async def test_rights_taken_away_while_it_runs_are_told_and_found_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, _ = scene.replicas.scale(3)
    await scene.beat(names[0], 60.0)
    scaled_object = await scene.ask()
    scene.api.tokens[""] = (LOOKS,)  # type: ignore[index]
    assert not await scene.server.sparing.step()
    await scene.server.sparing.step()
    assert scaled_object.spared is not None
    assert scaled_object.spared.failing
    assert "RBAC verbs patch" in scaled_object.spared.problems[0]
    asked = scene.api.requests["patch", "pods"]
    await scene.server.sparing.step()
    assert scene.api.requests["patch", "pods"] == asked, "it rests"
    scene.api.tokens[""] = (LOOKS, WRITES)  # type: ignore[index]
    now = CLOCK.now()
    later = SystemClock()
    monkeypatch.setattr(later, "now", lambda: now + 31, raising=False)
    monkeypatch.setattr(scene.server.sparing, "_clock", later)
    await scene.settle()
    assert not scaled_object.spared.failing
    assert scene.costs()[names[0]] == "6"


async def test_an_api_server_that_is_away_hinders_no_answer(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    await scene.beat(names[0], 60.0)
    scene.api.refusal = Refusal(503, "ServiceUnavailable", "away")
    scaled_object = await scene.ask()
    assert not await scene.server.sparing.step()
    assert scaled_object.told is not None
    assert scaled_object.spared is not None
    assert scaled_object.spared.failing


async def test_pods_that_are_renamed_or_deleted_meanwhile_are_ignored(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    for name in names:
        await scene.beat(name, 60.0)
    scaled_object = await scene.ask(busyRatio="5")
    await scene.server.sparing.look(scaled_object)
    writes = await scene.server.sparing._look("shop", [scaled_object])
    scene.replicas.gone(names[0])
    scene.replicas.gone(names[1])
    scene.api.put("pods", _pod("shop", names[1]))  # another pod of that name
    for write in writes:
        assert await scene.server.sparing._write("shop", write)
    assert scene.costs() == {names[1]: None, names[2]: "6"}


async def test_host_names_that_are_no_pods_are_told(scene: Scene) -> None:
    scene.replicas.scale(2)
    await scene.beat("ip-10-0-0-1", 60.0)
    explained = await _explained(scene)
    assert explained["failing"]
    assert "such as ip-10-0-0-1" in explained["problems"][0]


async def test_access_rules_govern_it(scene: Scene) -> None:
    rule = {"namespaces": ["shop"], "redis": ["main"]}
    for granted, allowed in ((rule, False), ({**rule, "kubernetes": ["shop"]}, True)):
        server = scene.replica(access=[granted])
        try:
            if not allowed:
                with pytest.raises(NotAllowedError, match=r"kubernetes shop.*access\[\].kubernetes"):
                    await scene.ask(server)
                await scene.ask(server, spareBusy="off")
            else:
                await scene.ask(server)
        finally:
            await server.close()


async def test_who_is_no_longer_allowed_or_asks_no_more_is_no_longer_spared(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    await scene.beat(names[0], 60.0)
    scaled_object = await scene.ask()
    scene.server.registry.allow(scene.replica(access=[{"namespaces": ["blog"]}]).settings.access)
    await scene.settle()
    assert not any(scene.costs().values())
    assert scaled_object.spared is None
    async with asyncio.timeout(10):
        while scene.api.watches:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.002)


async def test_a_redis_that_comes_back_empty_lowers_nothing_before_it_has_settled(scene: Scene) -> None:
    names, _ = scene.replicas.scale(3)
    await scene.beat(names[0], 3_600.0)
    metadata = {"settleSeconds": "15"}
    scaled_object = await scene.ask(**metadata)
    await scene.settle()
    assert scene.costs()[names[0]] == "12"
    scene.valkey.stop()
    with pytest.raises(Fault):
        await scene.ask(**metadata)
    scene.valkey.start()
    await scene.settle()
    assert scene.costs()[names[0]] == "12", "nothing is known"
    await scene.redis.connection_pool.disconnect()
    await scene.redis.execute_command("ACL", "SETUSER", "default", "-info")
    for name in names:
        await scene.beat(name)
    async with asyncio.timeout(10):
        while scaled_object.answer is None:  # until the place is tried again
            with suppress(Fault):
                await scene.ask(**metadata)
            await asyncio.sleep(0.05)
    scene.server.sparing._written.clear()
    await scene.settle()
    assert scene.costs()[names[0]] == "12", "what was read since the fault may not be all"


async def test_two_replicas_of_the_scaler_do_not_fight(scene: Scene) -> None:
    names, _ = scene.replicas.scale(6)
    for number, name in enumerate(names):
        await scene.beat(name, *([2.0 ** (number + 6) + 2] if number % 2 else []))  # doubles only after the test
    second = scene.replica()
    scene.stamps.behind = 0.0
    try:
        for _ in range(4):
            for server in (scene.server, second):
                await scene.ask(server)
                await scene.settle(server)
        assert scene.api.requests["patch", "pods"] == 3
    finally:
        await second.close()
