from pathlib import Path
from typing import Any

import pytest

from scaler.core.errors import Fault, Refused, Unavailable
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
