import asyncio
from pathlib import Path
from typing import Any

import pytest

from scaler.clients.redis.pool import NAMED_SECONDS
from scaler.core.errors import Fault, NotAllowedError, Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.resp import RespServer, Script, array
from scaler.demo.valkey import free_port


def sentinel_answer(answer: bytes) -> Script:
    return lambda command: answer if command[0] == b"SENTINEL" else b"+OK\r\n"


def role_answer(role: bytes) -> Script:
    return lambda command: (
        array(role, b"10.0.0.1", b"6379", b"connected", b"0") if command[0] == b"ROLE" else b"+PONG\r\n"
    )


async def test_master_is_asked_of_the_next_sentinel_and_its_role_is_checked(connected: Any) -> None:
    async with RespServer(role_answer(b"master")) as master:
        told = sentinel_answer(array(b"127.0.0.1", str(master.port).encode()))
        async with RespServer(told) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/shop"
            async with connected(url) as connection:
                assert await connection.ask([("PING",)]) == [b"PONG"]
                master.answer = role_answer(b"slave")
                with pytest.raises(
                    Unavailable, match="named by 1 of 2 Sentinels as the master and it says that it is a replica"
                ):
                    await connection.ask([("PING",)])
    assert [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"shop"] in sentinel.commands


async def test_sentinel_password_comes_from_its_file(connected: Any, tmp_path: Path) -> None:
    (tmp_path / "sentinel").write_text("sentinel-canary\n")
    (tmp_path / "redis").write_text("redis-canary\n")
    async with RespServer(role_answer(b"master")) as master:
        master.answer = lambda command: b"+OK\r\n" if command[0] == b"AUTH" else role_answer(b"master")(command)
        async with RespServer(sentinel_answer(array(b"127.0.0.1", str(master.port).encode()))) as sentinel:
            files = {"password_file": tmp_path / "redis", "sentinel_password_file": tmp_path / "sentinel"}
            async with connected(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop", **files) as connection:
                await connection.ask([("PING",)])
    assert [b"AUTH", b"sentinel-canary"] in sentinel.commands
    assert [b"AUTH", b"redis-canary"] in master.commands


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (b"$-1\r\n", Refused, "knows no master named shop"),
        (b"-NOAUTH Authentication required.\r\n", Refused, "asks for a password"),
        (b"-ERR unknown command 'SENTINEL'\r\n", Unavailable, "unknown command"),
        (array(b"127.0.0.1"), Unavailable, "cannot be understood"),
        (b":1\r\n", Unavailable, "cannot be understood"),
        (array(b"169.254.169.254", b"6379"), Refused, "169.254.169.254 is refused"),
    ],
    ids=["unknown", "password", "no sentinel", "half", "number", "metadata address"],
)
async def test_sentinel_that_does_not_help_is_told(refusal: Any, answer: bytes, kind: type[Fault], told: str) -> None:
    async with RespServer(sentinel_answer(answer)) as sentinel:
        fault = await refusal(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop")
    assert type(fault) is kind
    assert told in str(fault)


# Sentinels


async def test_sentinels_are_asked_with_every_read_and_what_they_no_longer_name_is_left(
    fake: Any, fake_sentinel: Any, ping: Any, kept: Any
) -> None:
    old, new = await fake(b"old"), await fake(b"new")
    sentinel = await fake_sentinel(old.port)
    one = kept(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop")
    for _ in range(3):
        connection = await ping(one)
    assert sentinel.commands.count([b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"shop"]) == 3
    assert sentinel.connections == 1
    assert "named by 1 of 1 Sentinels" in connection.found(0, 1).proof.origin
    sentinel.port_named = new.port
    await ping(one)
    assert (old.count(b"PING"), new.count(b"PING")) == (3, 1)
    assert one.moves == 1


async def test_sentinel_with_the_newest_configuration_counts(
    fake: Any, fake_sentinel: Any, ping: Any, kept: Any
) -> None:
    """Two that are cut off together with the old master go on naming it."""
    old, new = await fake(b"old"), await fake(b"new")
    behind = [await fake_sentinel(old.port, epoch=3) for _ in range(2)]
    ahead = await fake_sentinel(new.port, epoch=4)
    hosts = ",".join(f"127.0.0.1:{each.port}" for each in (*behind, ahead))
    connection = await ping(kept(f"redis+sentinel://{hosts}/shop"))
    assert connection.target.host == ("127.0.0.1", new.port)
    assert "named by 1 of 3 Sentinels" in connection.found(0, 1).proof.origin
    assert not old.count(b"PING")


@pytest.mark.parametrize("epoch", [None, 7], ids=["not told", "equal"])
async def test_sentinels_that_do_not_agree(
    fake: Any, fake_sentinel: Any, ping: Any, kept: Any, epoch: int | None
) -> None:
    first, second = await fake(b"1"), await fake(b"2")
    three = [await fake_sentinel(port, epoch) for port in (first.port, second.port, second.port)]
    hosts = [f"127.0.0.1:{each.port}" for each in three]
    connection = await ping(kept(f"redis+sentinel://{','.join(hosts)}/shop"))
    assert connection.target.host[1] == second.port
    with pytest.raises(Unavailable, match="do not agree"):
        await ping(kept(f"redis+sentinel://{','.join(hosts[:2])}/shop"))


async def test_sentinels_that_are_silent_are_a_fault_after_10_seconds(
    fake: Any, fake_sentinel: Any, ping: Any, kept: Any, clock: ManualClock
) -> None:
    master = await fake()
    sentinel = await fake_sentinel(master.port)
    one = kept(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop")
    await ping(one)
    sentinel.answer = lambda _: b"-ERR gone mad\r\n"
    await clock.advance(NAMED_SECONDS - 0.1)
    await ping(one)
    await clock.advance(0.1)
    with pytest.raises(Unavailable, match="gone mad"):
        await ping(one)


async def test_one_dead_sentinel_is_not_asked_with_every_read(
    fake: Any, fake_sentinel: Any, ping: Any, kept: Any, clock: ManualClock
) -> None:
    master = await fake()
    good, dead = await fake_sentinel(master.port), await fake_sentinel(master.port)
    dead.answer = lambda _: b"-ERR not now\r\n"
    one = kept(f"redis+sentinel://127.0.0.1:{dead.port},127.0.0.1:{good.port}/shop")
    for _ in range(50):
        await ping(one)
        await clock.advance(0.5)
    questions = sum(command[1] == b"MASTER" for command in dead.commands if len(command) > 1)
    assert 2 <= questions <= 4


# What a Sentinel may name


async def test_what_sentinels_name_must_be_allowed(fake: Any, fake_sentinel: Any, ping: Any, kept: Any) -> None:
    master = await fake()
    sentinel = await fake_sentinel(master.port)
    asked: list[tuple[str, str]] = []

    def allow(namespace: str, url: str) -> None:
        asked.append((namespace, url))
        raise NotAllowedError(f"namespace {namespace} may not read url {url}")

    with pytest.raises(
        Refused, match="name a master that is not allowed: namespace shop may not read url redis://"
    ) as told:
        await ping(kept(f"redis+sentinel://:canary-word@127.0.0.1:{sentinel.port}/shop/3", allow=allow))
    assert asked == [("shop", f"redis://127.0.0.1:{master.port}/3")]
    assert not master.commands
    assert "canary" not in str(told.value)


async def test_sentinel_that_names_the_secret_does_not_bring_it_into_a_message(
    fake_sentinel: Any, ping: Any, kept: Any, zone: Any
) -> None:
    sentinel = await fake_sentinel(6379, host=b"canary-word")

    def allow(_namespace: str, url: str) -> None:
        raise NotAllowedError(f"not {url}")

    names = zone(OSError("no such name"))
    for parts in ({"allow": allow}, {}):
        one = kept(f"redis+sentinel://:canary-word@127.0.0.1:{sentinel.port}/shop", names=names, **parts)
        with pytest.raises((Refused, Unavailable)) as told:
            await ping(one)
        assert "canary" not in str(told.value)


@pytest.mark.parametrize("host", [b"169.254.169.254", b"0.0.0.0", b"::ffff:169.254.169.254"], ids=bytes.decode)
async def test_what_sentinels_name_passes_the_guard(fake_sentinel: Any, ping: Any, kept: Any, host: bytes) -> None:
    sentinel = await fake_sentinel(80, host=host)
    with pytest.raises(Refused, match="is refused"):
        await ping(kept(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop"))


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"", b"a@b", b"x" * 300, b"a\nb", b"\xff"], ids=repr)
async def test_what_is_no_host_is_not_dialled(fake_sentinel: Any, ping: Any, kept: Any, host: bytes, zone: Any) -> None:
    sentinel = await fake_sentinel(80, host=host)
    names = zone(("127.0.0.1",))
    with pytest.raises(Unavailable, match="cannot be understood"):
        await ping(kept(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop", names=names))
    assert not names.asked


async def test_questions_at_the_same_time_leave_one_connection(fake: Any, fake_sentinel: Any, kept: Any) -> None:
    """The connection that hears of changes asks too."""
    master = await fake()
    sentinel = await fake_sentinel(master.port)
    one = kept(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop")

    async def until(connections: int) -> None:
        async with asyncio.timeout(5):
            while sentinel.connections != connections:  # noqa: ASYNC110 - a server has no event for it
                await asyncio.sleep(0.01)

    for connection in await asyncio.gather(one.get(), *(one.open() for _ in range(5))):
        connection.close()
    await until(1)
    opening = asyncio.gather(*(one.open() for _ in range(5)))
    await asyncio.sleep(0)
    one.close()
    for connection in await opening:
        connection.close()
    await until(0)
