import asyncio
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from scaler.clients.http.addresses import Addresses
from scaler.clients.redis import link
from scaler.clients.redis.link import CLIENT_NAME, Link
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.resp import MASTER, RespServer, Script, array
from scaler.demo.valkey import Valkey

# A real server


async def test_one_round_trip_answers_each_command_and_keeps_errors_in_their_place(
    connected: Any, valkey: Valkey
) -> None:
    async with connected(valkey.url) as connection:
        answers = await connection.ask([("PING",), ("LLEN", "nothing"), ("GET", 1, 2), ("ECHO", b"x")])
        assert answers[:2] == [b"PONG", 0]
        assert "wrong number of arguments" in str(connection.fault(answers[2], ("GET",)))
        assert answers[3] == b"x"
        assert await connection.ask([("CLIENT", "GETNAME")]) == [CLIENT_NAME.encode()]


async def test_a_long_answer_is_parsed_in_turns(
    connected: Any, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0

    async def rest() -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr(link, "rest", rest)
    async with connected(valkey.url) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]
        assert turns == 0  # what is short waits for nobody
        assert await connection.ask([("ECHO", b"x" * 300_000)]) == [b"x" * 300_000]
    assert turns >= 300_000 // link.READ_BYTES // 2  # the last of what has come by then may be short


async def test_connection_that_hears_of_changes(connected: Any, valkey: Valkey) -> None:
    async with connected(valkey.url, protocol=3) as connection:
        assert await connection.ask([("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "heard:")]) == [b"OK"]
        client = valkey.client()
        await client.mset({"heard:a": 1, "other": 2})
        await client.aclose()
        async with asyncio.timeout(5):
            assert await connection.invalidated() == [b"heard:a"]


async def test_database_of_the_url_is_the_one_that_is_read(connected: Any, valkey: Valkey) -> None:
    client = valkey.client()
    await client.set("here", 1)
    await client.aclose()
    async with connected(valkey.url) as zero, connected(valkey.url.replace("/0", "/3")) as three:
        assert await zero.ask([("EXISTS", "here")]) == [1]
        assert await three.ask([("EXISTS", "here")]) == [0]


async def test_user_of_the_url_takes_the_password_of_the_file(connected: Any, valkey: Valkey, tmp_path: Path) -> None:
    admin: Any = valkey.client()
    await admin.execute_command("ACL", "SETUSER", "filed", "on", ">filed-canary", "~*", "+@all")
    await admin.aclose()
    (tmp_path / "password").write_text("filed-canary\n")
    url = f"redis://filed@127.0.0.1:{valkey.port}"
    async with connected(url, password_file=tmp_path / "password") as connection:
        assert await connection.ask([("ACL", "WHOAMI")]) == [b"filed"]


async def test_missing_password_file_is_unavailable_and_named(refusal: Any, valkey: Valkey, tmp_path: Path) -> None:
    fault = await refusal(valkey.url, password_file=tmp_path / "gone")
    assert isinstance(fault, Unavailable)
    assert "cannot read passwordFile" in str(fault)
    assert "No such file" in str(fault)


async def test_database_that_does_not_exist_is_refused(refusal: Any, valkey: Valkey) -> None:
    fault = await refusal(valkey.url.replace("/0", "/999"))
    assert isinstance(fault, Refused)
    assert "no such database" in str(fault)


async def test_stopped_server_is_unavailable_and_comes_back(connected: Any, refusal: Any) -> None:
    with Valkey() as valkey:
        async with connected(valkey.url) as connection:
            valkey.stop()
            with pytest.raises(Unavailable):
                await connection.ask([("PING",)])
        fault = await refusal(valkey.url)
        assert isinstance(fault, Unavailable)
        assert "Connection refused" in str(fault)
        valkey.start()
        async with connected(valkey.url) as connection:
            assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_cluster_is_refused_with_the_reason(connected: Any) -> None:
    with Valkey(config={"cluster-enabled": "yes"}) as valkey:
        async with connected(valkey.url) as connection:
            (answer,) = await connection.ask([("LLEN", "queue:default")])
            fault = connection.fault(answer, ("LLEN", "queue:default"))
    assert isinstance(fault, Refused)
    assert "a Redis Cluster, which is not supported" in str(fault)


async def test_user_without_the_right_to_a_command_is_told_which(connected: Any, valkey: Valkey) -> None:
    admin = valkey.client()
    await admin.execute_command("ACL", "SETUSER", "reader", "on", ">canary-word", "~*", "+llen", "-client")
    await admin.aclose()
    async with connected(f"redis://reader:canary-word@127.0.0.1:{valkey.port}") as connection:
        length, members = await connection.ask([("LLEN", "queue:default"), ("SMEMBERS", "processes")])
        assert length == 0
        fault = connection.fault(members, ("SMEMBERS", "processes"))
    assert isinstance(fault, Refused)
    assert "may not run SMEMBERS processes; give it the access rules of the source's documentation" in str(fault)


# The guard


async def test_loopback_is_refused_where_it_is_not_allowed(refusal: Any, valkey: Valkey) -> None:
    fault = await refusal(valkey.url, Addresses(allow_loopback=False))
    assert isinstance(fault, Refused)
    assert "127.0.0.1 is refused" in str(fault)


async def test_name_is_judged_by_the_address_that_is_connected_to(refusal: Any, zone: Any) -> None:
    """A name that leads somewhere else the second time is not looked up a second time."""
    names = zone(("169.254.169.254",))
    fault = await refusal("redis://innocent.example", names=names)
    assert isinstance(fault, Refused)
    assert "169.254.169.254 is refused" in str(fault)
    assert names.asked == [("innocent.example", True)]


async def test_connection_goes_to_the_address_that_was_judged(connected: Any, zone: Any, valkey: Valkey) -> None:
    names = zone(("127.0.0.1",), ("169.254.169.254",))
    async with connected(valkey.url.replace("127.0.0.1", "rebound.example"), names=names) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_next_address_is_tried_when_one_does_not_answer(connected: Any, zone: Any, valkey: Valkey) -> None:
    names = zone(("127.9.9.9", "127.0.0.1"))
    async with connected(valkey.url.replace("127.0.0.1", "twice.example"), names=names) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_name_that_does_not_resolve_is_unavailable(refusal: Any, zone: Any) -> None:
    names = zone(socket.gaierror(-2, "Name or service not known"))
    assert "cannot be resolved" in str(await refusal("redis://nowhere.example", names=names))


# A server that misbehaves


def login_then(answer: bytes | None) -> Script:
    told = {b"CLIENT": b"+OK\r\n", b"INFO": b"$0\r\n\r\n", b"ROLE": MASTER}
    silent: list[bytes] = []

    def script(command: list[bytes]) -> bytes | None:
        if command[0] not in told and answer is None:
            silent.append(command[0])
        return None if silent else told.get(command[0], answer)

    return script


async def test_server_that_does_not_answer_is_unavailable_in_time(connected: Any) -> None:
    async with RespServer(login_then(None)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
            await connection.ask([("PING",)], seconds=0.05)


async def test_server_that_hangs_in_the_login_is_unavailable_in_time(refusal: Any) -> None:
    async with RespServer(lambda _: None) as fake:
        fault = await refusal(f"redis://:canary@127.0.0.1:{fake.port}", seconds=0.05)
    assert "no answer within 0.05 s" in str(fault)


@pytest.mark.parametrize(
    "answer",
    [b"hello\r\n", b"*-7\r\n", b"$-9\r\n", b"*99999999999999999999\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["no type", "length", "bulk", "huge length", "http"],
)
async def test_what_is_not_the_protocol_is_unavailable(connected: Any, answer: bytes) -> None:
    async with RespServer(login_then(answer)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match="cannot be understood"):
            await connection.ask([("PING",)])


async def test_endless_answer_is_cut(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MAX_ANSWER_BYTES", 1 << 20)
    endless = b"*100000\r\n" + b"$1024\r\n%s\r\n" % (b"x" * 1_024) * 2_000
    async with RespServer(login_then(endless)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match="more than 1 MiB of answers"):
            await connection.ask([("PING",)])


PUSH = b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n"


@pytest.mark.parametrize("push", [PUSH, b">0\r\n"], ids=["invalidations", "empty"])
async def test_flood_of_messages_that_nobody_asked_for_is_ended(connected: Any, push: bytes) -> None:
    flood = push * (link.MAX_UNASKED + 1)
    async with RespServer(login_then(flood)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match="more than 1000 messages that were not asked for"):
            await connection.ask([("PING",)])


class Pausing:
    """A transport, and the writer of it, that notes how often it rests."""

    def __init__(self) -> None:
        self.transport, self.rests, self.reading = self, 0, True

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        """Send nothing."""

    def pause_reading(self) -> None:
        self.rests, self.reading = self.rests + 1, False

    def resume_reading(self) -> None:
        self.reading = True


async def test_answer_that_comes_byte_by_byte_is_read_whole_with_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "LONGEST_PAUSE_SECONDS", 0.0)
    reader, pausing = asyncio.StreamReader(), Pausing()
    asked = asyncio.create_task(Link(reader, cast("Any", pausing), ("::1", 1)).round_trip([("ECHO", "x")]))
    for byte in b"$100\r\n%s\r\n" % (b"x" * 100):
        reader.feed_data(bytes([byte]))
        for _ in range(4):
            await asyncio.sleep(0)

    assert await asked == [b"x" * 100]
    assert pausing.rests == 100 + 8 - link.QUICK_READS
    assert pausing.reading


async def test_limit_counts_for_each_round_trip_anew(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MAX_ANSWER_BYTES", 1_500)
    async with (
        RespServer(login_then(array(b"x" * 600))) as fake,
        connected(f"redis://127.0.0.1:{fake.port}") as connection,
    ):
        for _ in range(3):
            assert await connection.ask([("PING",)]) == [[b"x" * 600]]


@pytest.mark.parametrize("text", ["LOADING Redis is loading", "NOAUTH Authentication required."])
async def test_error_of_the_whole_server_ends_the_round_trip(connected: Any, text: str) -> None:
    async with (
        RespServer(login_then(f"-{text}\r\n".encode())) as fake,
        connected(f"redis://127.0.0.1:{fake.port}") as connection,
    ):
        with pytest.raises(Fault):
            await connection.ask([("PING",)])


async def test_closed_connection_is_not_made_again(connected: Any) -> None:
    async with RespServer() as fake:
        async with connected(f"redis://127.0.0.1:{fake.port}") as connection:
            connection.close()
            with pytest.raises(Unavailable, match="connection is lost"):
                await connection.ask([("PING",)])
        assert [b"PING"] not in fake.commands
