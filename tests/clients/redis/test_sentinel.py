import asyncio
import contextlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.resp import RespServer, Script, array
from scaler.demo.valkey import Valkey, binary, free_port


def sentinel_answer(answer: bytes) -> Script:
    return lambda command: answer if command[0] == b"SENTINEL" else b"+OK\r\n"


def role_answer(role: bytes) -> Script:
    return lambda command: array(role, b"0") if command[0] == b"ROLE" else b"+PONG\r\n"


async def test_master_is_asked_of_the_next_sentinel_and_its_role_is_checked(connected: Any) -> None:
    async with RespServer(role_answer(b"master")) as master:
        told = sentinel_answer(array(b"127.0.0.1", str(master.port).encode()))
        async with RespServer(told) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/shop"
            async with connected(url) as connection:
                assert await connection.ask([("PING",)]) == [b"PONG"]
                master.answer = role_answer(b"slave")
                with pytest.raises(Unavailable, match="no master any more"):
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


async def test_new_master_is_found_after_a_real_failover(connected: Any, tmp_path: Path) -> None:
    with Valkey() as first, Valkey(config={"repl-diskless-sync-delay": 0}) as second:
        replica = second.client()
        await replica.replicaof("127.0.0.1", first.port)
        port = free_port()
        (tmp_path / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {port}\ndir {tmp_path}\nsentinel monitor shop 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 2000\n"
        )
        sentinel = subprocess.Popen(  # noqa: ASYNC220 - it is only started here
            [binary(), tmp_path / "sentinel.conf", "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        url = f"redis+sentinel://127.0.0.1:{port}/shop/0"

        async def master_port() -> int:
            async with connected(url) as connection:
                (told,) = await connection.ask([("CONFIG", "GET", "port")])
                return int(told[1])

        try:
            async with asyncio.timeout(30):
                while True:  # until the Sentinel knows the replica
                    with contextlib.suppress(Unavailable):
                        if await master_port() == first.port and await _replicas(connected, port):
                            break
                    await asyncio.sleep(0.1)
                first.stop()
                faults = 0
                while True:
                    try:
                        assert await master_port() == second.port
                        break
                    except Unavailable:
                        faults += 1
                    await asyncio.sleep(0.1)
                assert faults
        finally:
            sentinel.terminate()
            sentinel.wait()
            await replica.aclose()


async def _replicas(connected: Any, sentinel_port: int) -> list[Any]:
    async with connected(f"redis://127.0.0.1:{sentinel_port}") as connection:
        (told,) = await connection.ask([("SENTINEL", "REPLICAS", "shop")])
        return [
            dict(zip(one[::2], one[1::2], strict=True))
            for one in told
            if b"master-link-status" in one and one[one.index(b"master-link-status") + 1] == b"ok"
        ]
