from typing import Any

import pytest

from scaler.clients.redis.link import INFO_BYTES, shape_of
from scaler.clients.redis.resp import MORE, RedisError, Replies, TooLongError
from scaler.clients.redis.role import check_link, fields_of, is_refused, judge_info, judge_role, running_seconds
from scaler.core.errors import Unavailable


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        ([b"master", 0, []], "master"),
        ([b"master", 10, [[b"10.0.0.2", b"6379", b"10"]]], "master"),
        ([b"slave", b"10.0.0.1", 6379, b"connected", 14], "replica"),
        ([b"replica", b"10.0.0.1", b"6379", b"stable_sync"], "replica"),  # Dragonfly
        ([b"active-replica", b"10.0.0.1", 6379, b"connected", 14], "replica"),  # KeyDB
    ],
    ids=str,
)
def test_master_and_replica_in_step(answer: Any, role: str) -> None:
    assert judge_role(answer) == role


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            [b"slave", b"10.0.0.1", 6379, b"connect", -1],
            "replica that is not in step with its master 10.0.0.1: its link is connect",
        ),
        ([b"slave", b"10.0.0.1", 6379, b"connecting", -1], "link is connecting"),
        ([b"slave", b"10.0.0.1", 6379, b"sync", -1], "link is sync"),
        ([b"slave", b"10.0.0.1", 6379, b"none", -1], "link is none"),
        ([b"replica", b"10.0.0.1", b"6379", b"full_sync"], "link is full_sync"),
        ([b"sentinel", [b"shop"]], "this is a Sentinel"),
        ([b"slave"], "cannot be understood"),
        ([b"slave", None, 1, b"connected", 1], "cannot be understood"),
        ([b"arbiter"], "cannot be understood"),
        ([], "cannot be understood"),
        (b"master", "cannot be understood"),
        (None, "cannot be understood"),
        (1, "cannot be understood"),
        ([[b"master"]], "cannot be understood"),
    ],
    ids=str,
)
def test_everybody_else_is_a_fault(answer: Any, told: str) -> None:
    with pytest.raises(Unavailable, match=told):
        judge_role(answer)


@pytest.mark.parametrize(
    ("info", "role"),
    [
        (b"# Replication\r\nrole:master\r\nconnected_slaves:0\r\n", "master"),
        (b"role:slave\r\nmaster_host:a\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n", "replica"),
    ],
    ids=["master", "replica"],
)
def test_info_says_the_same(info: bytes, role: str) -> None:
    assert judge_info(info) == role


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (b"role:slave\r\nmaster_host:a\r\nmaster_link_status:down\r\n", "master a: its link is down"),
        (b"role:slave\r\nmaster_host:a\r\nmaster_link_status:up\r\nmaster_sync_in_progress:1\r\n", "link is sync"),
        (b"role:slave\r\n", "link is unknown"),
        (b"role:other\r\n", "cannot be understood"),
        (b"", "cannot be understood"),
        ([], "cannot be understood"),
        (None, "cannot be understood"),
    ],
    ids=str,
)
def test_info_of_everybody_else_is_a_fault(info: Any, told: str) -> None:
    with pytest.raises(Unavailable, match=told):
        judge_info(info)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (RedisError("NOPERM User x has no permissions to run the 'role' command"), True),
        (RedisError("ERR unknown command 'ROLE', with args beginning with: "), True),
        (RedisError("ERR unsupported command"), True),
        (RedisError("ERR Command is not available: 'INFO'"), True),
        (RedisError("BUSY Redis is busy running a script"), False),
        ([b"master"], False),
        (None, False),
    ],
    ids=str,
)
def test_refusal_is_told_from_trouble(answer: Any, *, refused: bool) -> None:
    assert is_refused(answer) == refused


def test_uptime() -> None:
    info = b"# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nuptime_in_seconds:1234\r\n"
    assert running_seconds(info) == 1234
    assert fields_of(info)[b"run_id"] == b"abc"
    for strange in (b"", b"uptime_in_seconds:-1\r\n", b"uptime_in_seconds:x", RedisError("no"), None, [b"uptime"]):
        assert running_seconds(strange) is None


def test_a_link_of_which_too_much_is_told_is_not_taken_for_one_of_which_nothing_is() -> None:
    check_link(RedisError("NOPERM"))
    with pytest.raises(TooLongError, match="40 KiB"):
        check_link(TooLongError("a string of 40 KiB"))


def test_a_string_is_as_long_as_the_answer_to_its_command() -> None:
    """4 MB of lines as `INFO` took 0.7 s to take apart."""
    shape = shape_of(("INFO", "server"))
    replies = Replies(1 << 20)
    for size in (INFO_BYTES, INFO_BYTES + 1):
        replies.feed(b"$%d\r\n%s\r\n" % (size, b"a:\n".ljust(size)))
    assert len(replies.get(shape)) == INFO_BYTES
    assert str(replies.get(shape)) == "a string of 32 KiB, more than 32 KiB"
    assert replies.get(shape) is MORE
