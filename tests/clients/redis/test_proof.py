import math
from typing import Any

import pytest

from scaler.clients.redis.connection import Seen
from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.resp import MASTER

REPLICA = b"*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:5\r\n"
NOPERM = b"-NOPERM User scaler has no permissions to run the command\r\n"


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


# The role, and what proves a value


async def test_role_is_asked_before_and_after_every_round_trip(fake: Any, ping: Any, kept: Any) -> None:
    server = await fake()
    one = kept(f"redis://127.0.0.1:{server.port}")
    for _ in range(3):
        connection = await ping(one)
    role, ping_, link = [b"ROLE"], [b"PING"], [b"INFO", b"replication"]
    assert server.commands[2:6] == [role, ping_, role, link]  # which it may turn out to have
    assert server.commands[6:] == [role, ping_, role] * 2
    found = connection.found(7, 1)
    assert found.value == 7
    assert found.proof.origin == f"127.0.0.1:{server.port}, says that it is the master"
    assert found.proof.whole == "an answer to each of 1 commands"


async def test_role_that_changes_in_the_middle_is_a_fault(fake: Any, ping: Any, kept: Any) -> None:
    server = await fake()
    roles = iter([MASTER, REPLICA])
    server.answer = lambda command: next(roles) if command[0] == b"ROLE" else server.say(command)
    with pytest.raises(Unavailable, match="changed its role meanwhile"):
        await ping(kept(f"redis://127.0.0.1:{server.port}"))


async def test_replica_that_gets_in_step_in_the_middle_is_a_fault(fake: Any, ping: Any, kept: Any) -> None:
    server = await fake()
    roles = iter([REPLICA.replace(b"$9\r\nconnected", b"$4\r\nsync"), REPLICA])
    server.answer = lambda command: next(roles) if command[0] == b"ROLE" else server.say(command)
    with pytest.raises(Unavailable, match="not in step with its master a: its link is sync"):
        await ping(kept(f"redis://127.0.0.1:{server.port}"))


@pytest.mark.parametrize(
    ("told", "silent"),
    [
        pytest.param(b"master_host:a\r\nmaster_last_io_seconds_ago:30\r\n", False, id="it has heard something"),
        pytest.param(b"master_host:a\r\nmaster_last_io_seconds_ago:31\r\n", True, id="silent for too long"),
        pytest.param(b"master_host:a\r\n", False, id="it does not say"),
        pytest.param(b"master_last_io_seconds_ago:-1\r\n", False, id="no link, of which ROLE tells"),
        pytest.param(None, False, id="refused"),
    ],
)
async def test_replica_that_hears_nothing_is_a_fault_though_its_link_is_up(
    fake: Any, ping: Any, kept: Any, told: bytes | None, *, silent: bool
) -> None:
    """As with a half-open connection, or a replica of a replica that is cut off."""
    server = await fake()
    server.told[b"ROLE"] = REPLICA
    answer = NOPERM if told is None else bulk(told)
    server.answer = lambda command: answer if command == [b"INFO", b"replication"] else server.say(command)
    one = kept(f"redis://127.0.0.1:{server.port}")
    for _ in range(2):
        if silent:
            with pytest.raises(Unavailable, match="its master a: it has heard nothing from there for 31 s"):
                await ping(one)
        else:
            await ping(one)


@pytest.mark.parametrize("refusal", [NOPERM, b"-ERR unknown command 'ROLE'\r\n"], ids=["denied", "unknown"])
async def test_where_role_is_refused_info_is_asked(fake: Any, ping: Any, kept: Any, refusal: bytes) -> None:
    server = await fake()
    server.told[b"ROLE"] = refusal
    info = b"role:slave\r\nmaster_host:a\r\nmaster_link_status:up\r\n"
    server.answer = lambda command: bulk(info) if command == [b"INFO", b"replication"] else server.say(command)
    one = kept(f"redis://127.0.0.1:{server.port}")
    connection = await ping(one)
    assert "is a replica in step" in str(connection.found(0, 1).proof)
    await ping(one)
    assert server.count(b"ROLE") == 2
    info = info.replace(b"up", b"down")
    with pytest.raises(Unavailable, match="master a: its link is down"):
        await ping(one)


async def test_where_both_are_refused_the_proof_says_that_the_role_is_unknown(fake: Any, ping: Any, kept: Any) -> None:
    server = await fake()
    server.told |= {b"ROLE": NOPERM, b"INFO": NOPERM}
    connection = await ping(kept(f"redis://127.0.0.1:{server.port}"))
    assert (
        "does not tell its role: ROLE and INFO replication are refused (grant +role)"
        in connection.found(0, 1).proof.origin
    )
    assert connection.found(0, 1).changed_at == -math.inf


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"*0\r\n", b"-ERR internal\r\n", b"$-1\r\n"], ids=repr)
async def test_strange_answer_to_role_is_a_fault(fake: Any, ping: Any, kept: Any, answer: bytes) -> None:
    server = await fake()
    server.told[b"ROLE"] = answer
    with pytest.raises(Unavailable):
        await ping(kept(f"redis://127.0.0.1:{server.port}"))


# Since when


async def test_start_of_the_server_is_told_in_our_time(fake: Any, ping: Any, kept: Any, clock: ManualClock) -> None:
    server = await fake(uptime=5)
    connection = await ping(kept(f"redis://127.0.0.1:{server.port}"))
    assert connection.found(0, 1).changed_at == clock.now() - 5
    assert server.count(b"INFO") == 2


async def test_other_role_is_a_change(fake: Any, ping: Any, kept: Any, clock: ManualClock) -> None:
    server = await fake()
    server.told[b"ROLE"] = REPLICA
    one = kept(f"redis://127.0.0.1:{server.port}")
    await ping(one)
    await clock.advance(10)
    server.told[b"ROLE"] = MASTER
    promoted = clock.now()
    assert (await ping(one)).changed_at == promoted
    await clock.advance(5)
    one.drop()
    assert (await ping(one)).changed_at == promoted  # it is the same server after that


async def test_other_server_is_a_change(fake: Any, ping: Any, kept: Any, clock: ManualClock) -> None:
    server = await fake()
    one = kept(f"redis://127.0.0.1:{server.port}")
    before = (await ping(one)).changed_at
    await clock.advance(2)
    server.uptime += 2
    one.drop()
    assert (await ping(one)).changed_at == before
    server.run_id = b"two"
    one.drop()
    assert (await ping(one)).changed_at == clock.now()
    assert one.moves == 1


async def test_server_that_tells_nothing_of_itself_is_known_by_its_address(fake: Any, ping: Any, kept: Any) -> None:
    server = await fake()
    server.told[b"INFO"] = NOPERM
    connection = await ping(kept(f"redis://127.0.0.1:{server.port}"))
    assert connection.is_same_server(Seen("127.0.0.1", b"", None, -math.inf))
    assert not connection.is_same_server(Seen("127.0.0.2", b"", None, -math.inf))
    assert not connection.is_same_server(Seen("127.0.0.1", b"one", None, -math.inf))
