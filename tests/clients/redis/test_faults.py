import socket

import pytest

from scaler.clients.redis.faults import MAX_TEXT, fault_of
from scaler.clients.redis.resp import RedisError, TooLongError
from scaler.core.errors import Fault, Refused, Throttled, Unavailable

ASKED = ("HMGET", b"web-1:7:abc", "info")


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("NOPERM User scaler has no permissions to run the 'hmget' command", Refused, "may not run HMGET web-1:7:abc"),
        ("NOPERM No permissions to access a key", Refused, "the access rules of docs/redis.md"),
        ("NOAUTH Authentication required.", Refused, "asks for a password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", Refused, "refuses the user name or password"),
        ("ERR invalid password", Refused, "refuses the user name or password"),
        ("LOADING Redis is loading the dataset in memory", Unavailable, "is loading its data"),
        ("MOVED 1234 10.0.0.1:6379", Refused, "which is not supported"),
        ("CLUSTERDOWN Hash slot not served", Refused, "without cluster mode"),
        ("CROSSSLOT Keys in request don't hash to the same slot", Refused, "Redis Cluster"),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            Refused,
            "HMGET web-1:7:abc: the key holds something else",
        ),
        ("ERR DB index is out of range", Refused, "no such database"),
        ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable, "maxmemory"),
        ("MISCONF Redis is configured to save RDB snapshots", Unavailable, "MISCONF"),
        ("READONLY You can't write against a read only replica.", Unavailable, "read only replica"),
        ("MASTERDOWN Link with MASTER is down", Unavailable, "Link with MASTER is down"),
        ("BUSY Redis is busy running a script.", Unavailable, "busy running a script"),
        ("ERR max number of clients reached", Unavailable, "max number of clients"),
        ("ERR max requests limit exceeded. Limit: 10000", Throttled, "max requests limit"),
        ("ERR unknown command", Unavailable, "unknown command"),
        ("SOMETHING new", Unavailable, "SOMETHING new"),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) and value.split(" ")[0].isupper() else "",
)
def test_every_error_of_redis_is_a_fault_that_says_what_to_do(text: str, kind: type[Fault], told: str) -> None:
    fault = fault_of(RedisError(text), "redis/main", command=ASKED, rights="docs/redis.md")
    assert type(fault) is kind
    assert str(fault).startswith("redis/main: ")
    assert told in str(fault)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "no answer within 2 s"),
        (socket.gaierror(-2, "Name or service not known"), "host name cannot be resolved"),
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.1', 6379)"), "main: Connection refused"),
        (ConnectionError("Connection closed by server."), "Connection closed by server."),
        (ConnectionResetError(), "ConnectionResetError"),
        (ValueError("Protocol error"), "cannot be understood"),
        (MemoryError(), "cannot be understood"),
        (TooLongError("a string of 5 KiB, more than 4 KiB"), "a string of 5 KiB, more than 4 KiB, which is not read"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_failure_of_the_network_is_unavailable(error: Exception, told: str) -> None:
    fault = fault_of(error, "redis/main", seconds=2)
    assert type(fault) is Unavailable
    assert told in str(fault)


def test_a_fault_stays_what_it_is() -> None:
    fault = fault_of(Refused("address 169.254.169.254 is refused"), "redis/cache:6379")
    assert type(fault) is Refused
    assert str(fault) == "redis/cache:6379: address 169.254.169.254 is refused"


def test_command_that_was_denied_is_taken_from_the_error_where_it_is_not_known() -> None:
    error = RedisError("NOPERM this user has no permissions to run the 'auth' command or its subcommand")
    assert "may not run AUTH;" in str(fault_of(error, "redis/main"))


def test_secrets_that_redis_quotes_are_left_out() -> None:
    error = RedisError("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'can' 'canary-word' ")
    told = str(fault_of(error, "redis/main", secrets=["can", "canary-word"]))
    assert "unknown command" in told
    assert "can'" not in told
    assert "canary" not in told


SECRET = 'can"ary\\wörd-0123456789-' + "abcdefghij" * 20


@pytest.mark.parametrize(
    "quoted",
    [
        SECRET,
        SECRET[:128],
        SECRET[:7],
        SECRET[40:90],
        SECRET.encode()[:10].decode("utf-8", "replace"),
        SECRET.replace('"', '\\"'),
        repr(SECRET),
        SECRET.replace("-", "- "),
        f"{SECRET[:60]}\r\n{SECRET[60:]}",
    ],
    ids=["whole", "cut at 128", "beginning", "middle", "cut in a character", "escaped", "repr", "spaced", "in lines"],
)
def test_no_part_of_a_secret_is_told(quoted: str) -> None:
    told = str(
        fault_of(
            RedisError(f"ERR unknown command 'AUTH', with args beginning with: '{quoted}' "),
            "redis/main",
            secrets=[SECRET],
        )
    )
    assert "unknown command" in told
    assert not any(SECRET[at : at + 8] in told for at in range(len(SECRET) - 8))
    assert SECRET[:4] not in told


def test_what_has_nothing_of_a_secret_is_told_as_it_is() -> None:
    told = str(fault_of(RedisError("ERR unknown command 'ROLE'"), "redis/main", secrets=["canary-word", "can", ""]))
    assert told == "redis/main: Redis answers: unknown command 'ROLE'"


def test_no_fault_speaks_of_a_source() -> None:
    texts = ["NOPERM x", "MOVED 1 a:1", "WRONGTYPE x", "NOAUTH x", "ERR x"]
    told = " ".join(str(fault_of(RedisError(text), "redis/main", command=ASKED)) for text in texts)
    assert "idekiq" not in told


def test_text_of_a_hostile_redis_is_short_and_printable() -> None:
    told = str(fault_of(RedisError("ERR \x1b[2J\r" + "x" * 10_000), "redis/main"))
    assert told.isprintable()
    assert len(told) < MAX_TEXT + 20
