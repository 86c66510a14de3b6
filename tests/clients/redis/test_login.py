"""How a connection logs in, and what is told when it cannot."""

from pathlib import Path
from typing import Any

import pytest

from scaler.core.errors import Refused
from scaler.demo.resp import MASTER, RespServer
from scaler.demo.valkey import Valkey


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("userinfo", "told"),
    [("", "asks for a password"), (":wrong-canary@", "refuses the user name"), ("u:wrong-canary@", "refuses the user")],
    ids=["none", "wrong password", "wrong user"],
)
async def test_wrong_login_is_refused(refusal: Any, valkey: Valkey, userinfo: str, told: str, protocol: int) -> None:
    fault = await refusal(f"redis://{userinfo}127.0.0.1:{valkey.port}/1", protocol=protocol)
    assert isinstance(fault, Refused)
    assert told in str(fault)
    assert f"redis/main (redis://127.0.0.1:{valkey.port}/1)" in str(fault)
    assert "canary" not in str(fault)


@pytest.mark.parametrize("name", ["auth", "AUTH"])
@pytest.mark.parametrize("password", [b"canary-word", b"other"])
async def test_redis_before_6_which_has_no_users_gets_the_password_alone(
    connected: Any, name: str, password: bytes
) -> None:
    def old(command: list[bytes]) -> bytes:
        if command[0] != b"AUTH":
            return MASTER if command == [b"ROLE"] else b"+OK\r\n"
        if len(command) == 3:
            return f"-ERR wrong number of arguments for '{name}' command\r\n".encode()
        return b"+OK\r\n" if command[1] == password else b"-ERR invalid password\r\n"

    async with RespServer(old) as server:
        opened = connected(f"redis://reader:canary-word@127.0.0.1:{server.port}")
        if password == b"canary-word":
            async with opened:
                pass
        else:
            with pytest.raises(Refused, match="refuses the user name or password"):
                await opened.__aenter__()
        assert [command for command in server.commands if command[0] == b"AUTH"] == [
            [b"AUTH", b"reader", b"canary-word"],
            [b"AUTH", b"canary-word"],
        ]


async def test_password_file_is_read_again_for_each_connection(
    connected: Any, refusal: Any, valkey: Valkey, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    url = f"redis://:old-canary@127.0.0.1:{valkey.port}"
    file.write_text("not yet\n")
    assert isinstance(await refusal(url, password_file=file), Refused)
    file.write_text("canary-word\n")
    async with connected(url, password_file=file) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]
