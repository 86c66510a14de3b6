"""Real failovers: with jobs waiting on the true master, no answer may be 0, and the right one comes in time."""

import asyncio
import json
from typing import Any

import pytest

from scaler.clients.redis import role as role_of_redis
from scaler.demo.proxy import Proxy, Trouble
from scaler.demo.redis_nodes import Node, SentinelNode
from tests.failover.roles import is_in_step, is_master, is_replica, role

pytestmark = pytest.mark.slow
BEFORE, AFTER = 3, 5
"""Jobs that wait before a failover, and on the new master after it."""


async def wait_on(node: Node, count: int) -> None:
    """Let so many jobs wait there."""
    await node.ask("LPUSH", "queue:default", *(json.dumps({"jid": number}) for number in range(count)))
    await node.ask("LTRIM", "queue:default", 0, count - 1)  # so that there is no moment without any


def sentinel_url(sentinels: list[SentinelNode]) -> str:
    return f"redis+sentinel://{','.join(f'{one.host}:{one.port}' for one in sentinels)}/shop/0"


# Behind Sentinels


@pytest.fixture
async def pair(node: Any, sentinels: Any) -> tuple[Node, Node, list[SentinelNode]]:
    """Return a master with waiting jobs, its replica, and three Sentinels that know both."""
    master = await node()
    replica = await node(of=(master.host, master.port))
    await wait_on(master, BEFORE)
    return master, replica, await sentinels((master.host, master.port))


async def test_failover_by_hand(pair: Any, watch: Any, until: Any) -> None:
    master, replica, sentinels = pair
    told = await watch(sentinel_url(sentinels))
    await told.tells(BEFORE)
    await sentinels[0].ask("SENTINEL", "FAILOVER", "shop")
    await until(lambda: is_master(replica))
    await wait_on(replica, AFTER)
    await told.tells(AFTER)
    await until(lambda: is_replica(master))
    await told.tells(AFTER)
    assert "named by" in told.proofs[-1]
    assert f":{replica.port}" in told.proofs[-1]


async def test_master_is_killed(pair: Any, watch: Any, until: Any) -> None:
    master, replica, sentinels = pair
    told = await watch(sentinel_url(sentinels))
    await told.tells(BEFORE)
    master.kill()
    await told.fails()
    await until(lambda: is_master(replica))
    await wait_on(replica, AFTER)
    await told.tells(AFTER)


async def test_master_and_one_sentinel_are_killed(pair: Any, watch: Any, until: Any) -> None:
    master, replica, sentinels = pair
    told = await watch(sentinel_url(sentinels))
    await told.tells(BEFORE)
    sentinels[0].kill()
    master.kill()
    await until(lambda: is_master(replica))
    await wait_on(replica, AFTER)
    await told.tells(AFTER)


async def test_frozen_master_thaws_after_the_failover(pair: Any, watch: Any, until: Any) -> None:
    """It calls itself a master until a Sentinel tells it otherwise, and its jobs were done elsewhere."""
    master, replica, sentinels = pair
    told = await watch(sentinel_url(sentinels))
    await told.tells(BEFORE)
    await master.ask("PEXPIRE", "queue:default", 1_000)  # it will have none when it thaws
    master.freeze()
    await told.fails()
    told.judge = False  # the replica loses them too
    await until(lambda: is_master(replica))
    await wait_on(replica, AFTER)
    await replica.ask("PERSIST", "queue:default")
    await told.tells(AFTER)
    told.judge = True
    master.thaw()
    await until(lambda: is_replica(master))
    await told.tells(AFTER)


async def test_old_master_that_was_emptied_is_left_though_it_calls_itself_a_master(
    pair: Any, watch: Any, until: Any
) -> None:
    """Its clients still reach it while the Sentinels name another one: they are asked with every read."""
    master, replica, sentinels = pair
    told = await watch(sentinel_url(sentinels))
    await told.tells(BEFORE)
    for one in sentinels:
        one.freeze()  # so that nobody tells the old master what it is
    await master.ask("CONFIG", "SET", "repl-timeout", 1000)
    await replica.ask("REPLICAOF", "NO", "ONE")
    await wait_on(replica, AFTER)
    for one in sentinels:
        one.thaw()
        await one.ask("SENTINEL", "REMOVE", "shop")
        await one.ask("SENTINEL", "MONITOR", "shop", replica.host, replica.port, 2)
    await master.ask("FLUSHALL")
    assert await role(master) == b"master"
    await told.tells(AFTER)


async def test_master_is_cut_off_from_everybody(node: Any, sentinels: Any, watch: Any, until: Any) -> None:
    """Nothing arrives, as with lost packets; when the net is whole again, it is still a master, and then no longer."""
    behind: list[Proxy] = []
    nodes: list[Node] = []
    for _ in range(2):
        server = await node()
        proxy = Proxy(server.port)
        await proxy.start()
        await server.ask("CONFIG", "SET", "replica-announce-port", proxy.port)
        behind.append(proxy)
        nodes.append(server)
    (master, replica), (before_master, _) = nodes, behind
    try:
        await replica.ask("REPLICAOF", "127.0.0.1", before_master.port)
        await wait_on(master, BEFORE)
        watching = await sentinels(("127.0.0.1", before_master.port))
        told = await watch(sentinel_url(watching))
        await told.tells(BEFORE)
        await before_master.turn(Trouble.HANG)
        await told.fails()
        await until(lambda: is_master(replica))
        await wait_on(replica, AFTER)
        await master.ask("FLUSHALL")
        await told.tells(AFTER)
        await before_master.turn(Trouble.NONE)
        await until(lambda: is_replica(master))
        await told.tells(AFTER)
    finally:
        for proxy in behind:
            await proxy.close()


# Behind a host name


@pytest.fixture
async def named(node: Any, zone: Any) -> tuple[Node, Node, str]:
    """Return two servers on the same port of two addresses, and a URL whose name leads to the first one."""
    first = await node(host="127.0.0.2")
    second = await node(host="127.0.0.3", port=first.port)
    zone.addresses["redis.shop"] = first.host
    return first, second, f"redis://redis.shop:{first.port}"


async def test_name_moves_and_the_old_node_is_a_replica_without_a_master(
    named: Any, zone: Any, watch: Any, until: Any
) -> None:
    first, second, url = named
    told = await watch(url)
    told.judge = False  # nothing waits yet
    await told.tells(0)
    await wait_on(second, AFTER)
    await first.ask("REPLICAOF", "127.0.0.1", 1)  # where nobody listens
    await told.fails()
    told.judge = True
    assert "not in step with its master 127.0.0.1" in str(told.told[-1])
    zone.addresses["redis.shop"] = second.host
    await told.tells(AFTER)


async def test_name_moves_while_the_old_node_goes_on(named: Any, zone: Any, watch: Any) -> None:
    """As when a service is renamed or restored elsewhere: the old node answers well, and is no longer meant."""
    first, second, url = named
    await wait_on(first, BEFORE)
    told = await watch(url)
    await told.tells(BEFORE)
    await wait_on(second, AFTER)
    zone.addresses["redis.shop"] = second.host
    await told.tells(AFTER)


async def test_managed_redis_switches_its_name_after_the_roles(named: Any, zone: Any, watch: Any, until: Any) -> None:
    """ElastiCache promotes a replica, makes the old primary its replica, changes the name, and may end the old node."""
    first, second, url = named
    await wait_on(first, BEFORE)
    await second.ask("REPLICAOF", first.host, first.port)
    await until(lambda: is_in_step(second))
    told = await watch(url)
    await told.tells(BEFORE)
    await second.ask("REPLICAOF", "NO", "ONE")
    await first.ask("REPLICAOF", second.host, second.port)
    await wait_on(second, AFTER)
    await told.tells(AFTER)  # by the old one, which follows the new
    assert "replica in step" in told.proofs[-1]
    zone.addresses["redis.shop"] = second.host
    await told.until(lambda _: "127.0.0.3" in told.proofs[-1], "from the new node")
    first.kill()
    await told.tells(AFTER)
    assert "says that it is the master" in told.proofs[-1]


async def test_other_server_behind_the_same_address(node: Any, watch: Any) -> None:
    """A node dies, and the address goes to another one, as behind a Service."""
    first = await node()
    await wait_on(first, BEFORE)
    told = await watch(f"redis://127.0.0.1:{first.port}")
    await told.tells(BEFORE)
    first.kill()
    await told.fails()
    second = Node(first._directory, port=first.port)
    told.judge = False  # for as long as it is new and empty
    await second.start()
    await wait_on(second, AFTER)
    await told.tells(AFTER)
    second.kill()


# Replicas


async def test_replica_that_never_synced(node: Any, watch: Any, until: Any) -> None:
    master = await node()
    await wait_on(master, BEFORE)
    proxy = Proxy(master.port)
    await proxy.start()
    await proxy.turn(Trouble.HANG)
    try:
        replica = await node(of=("127.0.0.1", proxy.port))
        told = await watch(f"redis://127.0.0.1:{replica.port}")
        await told.fails()
        await asyncio.sleep(1)
        assert not told.proofs
        await proxy.turn(Trouble.NONE)
        await told.tells(BEFORE)
    finally:
        await proxy.close()


async def test_replica_whose_link_breaks_and_comes_back(node: Any, watch: Any, until: Any) -> None:
    master = await node()
    proxy = Proxy(master.port)
    await proxy.start()
    try:
        replica = await node(of=("127.0.0.1", proxy.port))
        await until(lambda: is_in_step(replica))
        told = await watch(f"redis://127.0.0.1:{replica.port}")
        told.judge = False  # nothing waits yet
        await told.tells(0)
        await proxy.turn(Trouble.REFUSE)
        await wait_on(master, AFTER)
        await told.fails()
        told.judge = True
        answered = len(told.proofs)
        await asyncio.sleep(1)
        assert len(told.proofs) == answered
        await proxy.turn(Trouble.NONE)
        await told.tells(AFTER)
    finally:
        await proxy.close()


async def test_replica_of_a_replica_that_is_cut_off(
    node: Any, watch: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own link stays up, and nobody tells it what waits."""
    monkeypatch.setattr(role_of_redis, "SILENT_SECONDS", 2)
    master = await node()
    proxy = Proxy(master.port)
    await proxy.start()
    try:
        middle = await node(of=("127.0.0.1", proxy.port))
        last = await node(of=("127.0.0.1", middle.port))
        for one in (middle, last):
            await until(lambda one=one: is_in_step(one))
            await one.ask("CONFIG", "SET", "repl-timeout", 1000)
        told = await watch(f"redis://127.0.0.1:{last.port}")
        told.judge = False  # nothing waits yet
        await told.tells(0)
        await proxy.turn(Trouble.HANG)
        await wait_on(master, AFTER)
        await told.fails()
        told.judge = True
        assert await is_in_step(last)
        await proxy.turn(Trouble.NONE)
        await told.tells(AFTER)
    finally:
        await proxy.close()
