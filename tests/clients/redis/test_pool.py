import asyncio
import itertools
import math
import socket
from typing import Any

import pytest
from pydantic import SecretStr

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import MAX_TRIED
from scaler.clients.redis.dialer import Dialer
from scaler.clients.redis.pool import CERTAIN_SECONDS, LOOK_UP_SECONDS
from scaler.clients.redis.server import RedisServer
from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.resp import MASTER
from scaler.demo.valkey import free_port

# Names


async def test_connection_to_an_address_that_the_name_no_longer_has_is_left(
    fake: Any, ping: Any, kept: Any, clock: ManualClock, zone: Any
) -> None:
    server = await fake()
    names = zone(("127.0.0.1",))
    one = kept(f"redis://cache:{server.port}", names=names)
    first = await ping(one)
    await clock.advance(LOOK_UP_SECONDS)
    names.answers = [("127.0.0.9", "127.0.0.1")]
    assert await ping(one) is first
    await clock.advance(LOOK_UP_SECONDS)
    names.answers = [("127.0.0.9",)]
    with pytest.raises(Unavailable):
        await ping(one)  # nobody is there, and the old one is not asked
    assert server.count(b"PING") == 2


async def test_name_is_asked_anew_within_30_seconds_whatever_its_time_to_live(
    fake: Any, ping: Any, kept: Any, clock: ManualClock, zone: Any
) -> None:
    server = await fake()
    names = zone(("127.0.0.1",))
    one = kept(f"redis://cache:{server.port}", names=names)
    for _ in range(120):
        await ping(one)
        await clock.advance(0.5)
    fresh = [number for number, (_, fresh) in enumerate(names.asked) if fresh]
    assert fresh[0] == 0
    assert len(names.asked) <= 62
    assert max(after - before for before, after in itertools.pairwise(fresh)) <= CERTAIN_SECONDS


async def test_name_that_cannot_be_looked_up_is_a_fault_after_30_seconds(
    fake: Any, ping: Any, kept: Any, clock: ManualClock, zone: Any
) -> None:
    server = await fake()
    names = zone(("127.0.0.1",))
    one = kept(f"redis://cache:{server.port}", names=names)
    await ping(one)
    names.answers = [OSError("the name server does not answer")]
    await clock.advance(CERTAIN_SECONDS - 1)
    await ping(one)
    await clock.advance(1)
    with pytest.raises(Unavailable, match="name server does not answer"):
        await ping(one)
    names.answers = [("127.0.0.1",)]
    await ping(one)


async def test_every_fault_leads_to_a_new_look_up(fake: Any, ping: Any, kept: Any, zone: Any) -> None:
    server = await fake()
    names = zone(("127.0.0.1",))
    one = kept(f"redis://cache:{server.port}", names=names)
    await ping(one)
    server.told[b"ROLE"] = b"+OK\r\n"
    with pytest.raises(Unavailable):
        await ping(one)
    server.told[b"ROLE"] = MASTER
    await ping(one)
    assert names.asked == [("cache", True)] * 2


async def test_other_server_behind_the_same_address_is_found(
    fake: Any, ping: Any, kept: Any, clock: ManualClock
) -> None:
    """As behind a Service whose endpoint changes: open connections stay with the old one."""
    server = await fake()
    one = kept(f"redis://127.0.0.1:{server.port}")
    first = await ping(one)
    await clock.advance(CERTAIN_SECONDS)
    assert await ping(one) is first
    assert one.moves == 0
    server.run_id = b"two"
    await clock.advance(CERTAIN_SECONDS)
    second = await ping(one)
    assert second is not first
    assert one.moves == 1
    assert second.changed_at == clock.now()
    await asyncio.sleep(0.01)
    assert server.connections == 1


async def test_server_that_tells_nothing_of_itself_is_left_for_whoever_answers_now(
    fake: Any, ping: Any, kept: Any, clock: ManualClock
) -> None:
    server = await fake()
    server.told[b"INFO"] = b"-NOPERM User scaler has no permissions to run the command\r\n"
    one = kept(f"redis://127.0.0.1:{server.port}")
    first = await ping(one)
    await clock.advance(CERTAIN_SECONDS)
    second = await ping(one)
    assert second is not first
    assert (second.changed_at, one.moves) == (-math.inf, 0)  # nothing says that it is another
    await asyncio.sleep(0.01)
    assert server.connections == 1


async def test_connection_stays_while_no_new_one_can_be_made(
    fake: Any, ping: Any, kept: Any, clock: ManualClock
) -> None:
    server = await fake()
    one = kept(f"redis://127.0.0.1:{server.port}")
    first = await ping(one)
    server.told[b"CLIENT"] = b"-ERR max number of clients reached\r\n"
    server.told[b"INFO"] = server.told[b"SELECT"] = b"-NOAUTH Authentication required.\r\n"
    await clock.advance(CERTAIN_SECONDS)
    assert await ping(one) is first


@pytest.fixture
def behind(fake: Any) -> Any:
    """Return a function that starts servers on one port of several addresses, by what each says to ROLE."""

    async def started(*roles: bytes | None) -> tuple[int, list[Any]]:
        port, servers = 0, []
        for number, role in enumerate(roles, 1):
            server = await fake(b"run-%d" % number, host=f"127.0.0.{number}", port=port)
            port = server.port
            server.told[b"ROLE"] = role
            servers.append(server)
        return port, servers

    return started


REPLICA = b"*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:5\r\n"


@pytest.mark.parametrize(
    ("roles", "meant"),
    [
        pytest.param((REPLICA, MASTER), "127.0.0.2", id="the master behind a replica"),
        pytest.param(
            (REPLICA.replace(b"$9\r\nconnected", b"$4\r\nsync"), REPLICA), "127.0.0.2", id="the replica in step"
        ),
        pytest.param((MASTER, MASTER), None, id="a newborn that calls itself a master, too"),
    ],
)
async def test_of_several_servers_behind_a_name_the_master_is_meant(
    behind: Any, ping: Any, kept: Any, zone: Any, *, roles: tuple[bytes, ...], meant: str | None
) -> None:
    port, servers = await behind(*roles)
    addresses = tuple(f"127.0.0.{number}" for number in range(1, len(roles) + 2))  # nobody is at the last one
    one = kept(f"redis://cache:{port}", names=zone(addresses))
    if meant is None:
        shown = rf"127\.0\.0\.1:{port} and 127\.0\.0\.2:{port}"
        with pytest.raises(
            Unavailable, match=rf": its name leads to several servers that call themselves a master: {shown}$"
        ):
            await ping(one)
        await asyncio.sleep(0.01)
        assert [server.connections for server in servers] == [0, 0]
        return
    assert (await ping(one)).address == meant
    await asyncio.sleep(0.01)
    assert [server.connections for server in servers] == [0, 1]
    servers[1].told[b"HELLO"] = b"%1\r\n$5\r\nproto\r\n:3\r\n"
    hints = await one.open(protocol=3)
    assert hints.address == meant
    hints.close()


async def test_a_few_addresses_of_a_sentinel_are_tried(zone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of 1,000 a TLS handshake failed, which took 0.7 s of the processor at each question."""
    tried: list[str] = []
    monkeypatch.setattr(Addresses, "open_socket", lambda _, info: tried.append(info[4][0]) or socket.socket())
    server = RedisServer(url=SecretStr("redis+sentinel://many:1/m"))
    dialer = Dialer(server, Addresses(), zone(tuple(f"127.0.0.{number}" for number in range(1, 100))), "redis/main")
    with pytest.raises(ConnectionError):
        await dialer.dial(dialer.url.hosts[0], 5.0)
    assert len(tried) == MAX_TRIED


async def test_one_server_behind_several_addresses_is_one_master(fake: Any, ping: Any, kept: Any, zone: Any) -> None:
    """As behind a load balancer with an address in each zone."""
    server = await fake(host="0.0.0.0")
    one = kept(f"redis://cache:{server.port}", names=zone(("127.0.0.2", "127.0.0.1")))
    assert (await ping(one)).address == "127.0.0.1"  # the same in whatever order they are named
    assert one.moves == 0


@pytest.mark.parametrize("down_first", [True, False])
async def test_name_without_a_usable_server_gives_the_fault_of_its_first_address(
    behind: Any, ping: Any, kept: Any, zone: Any, *, down_first: bool
) -> None:
    port, (server,) = await behind(MASTER)
    server.told[b"AUTH"] = b"-WRONGPASS invalid username-password pair\r\n"
    addresses = ("127.0.0.9", "127.0.0.1") if down_first else ("127.0.0.1", "127.0.0.9")
    one = kept(f"redis://:wrong@cache:{port}", names=zone(addresses))
    with pytest.raises(Unavailable if down_first else Refused) as told:
        await ping(one)
    assert ("Connection refused" if down_first else "refuses the user name or password") in str(told.value)


# Attempts


async def test_failing_login_is_not_repeated_with_every_read(
    fake: Any, ping: Any, kept: Any, clock: ManualClock
) -> None:
    server = await fake()
    server.told[b"AUTH"] = b"-WRONGPASS invalid username-password pair\r\n"
    one = kept(f"redis://:wrong@127.0.0.1:{server.port}")
    for _ in range(100):
        with pytest.raises(Refused, match="refuses the user name or password"):
            await ping(one)
    assert server.count(b"AUTH") == 2
    await clock.advance(60)
    server.told[b"AUTH"] = b"+OK\r\n"
    await ping(one)


async def test_configured_connection_is_used_as_it_is_now(fake: Any, ping: Any, kept: Any, clock: ManualClock) -> None:
    first, second = await fake(b"1"), await fake(b"2")
    redis = {"main": RedisServer(url=SecretStr(f"redis://127.0.0.1:{first.port}"))}
    one = kept("redis://unused", "main", redis=redis)
    await ping(one)
    redis["main"] = RedisServer(url=SecretStr(f"redis://127.0.0.1:{second.port}"))
    await ping(one)
    assert (first.count(b"PING"), second.count(b"PING")) == (1, 1)
    del redis["main"]
    with pytest.raises(Refused, match="no connection named main"):
        await ping(one)


async def test_host_that_is_down_is_tried_again_soon(ping: Any, kept: Any, clock: ManualClock) -> None:
    connects: list[float] = []
    one = kept(f"redis://127.0.0.1:{free_port()}", count_requests=lambda *_: connects.append(clock.now()))
    for _ in range(600):
        with pytest.raises(Unavailable):
            await ping(one)
        await clock.advance(0.1)
    assert 12 <= len(connects) <= 25
    assert max(after - before for before, after in itertools.pairwise(connects)) <= 5
