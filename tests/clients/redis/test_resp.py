import json
import time
import tracemalloc
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clients.redis.link import INFO_BYTES, MAX_ELEMENTS, SHORT_BYTES, shape_of
from scaler.clients.redis.resp import (
    MAX_LINE_BYTES,
    MAX_STRING_BYTES,
    MORE,
    PUSHED,
    ProtocolError,
    Push,
    RedisError,
    Replies,
    Shape,
    TooLongError,
)

ROOM = 1 << 20
MANY = 1_000
MAX_DEPTH = 6
NO_LIST = Shape(0, 0)


def parsed(data: bytes, *, most: int = MANY, room: int = ROOM, sizes: tuple[int, ...] = ()) -> list[Any]:
    """Return the answers in `data`, fed in pieces of `sizes` and then the rest."""
    replies, found, at = Replies(room), [], 0
    for size in (*sizes, len(data)):
        replies.feed(data[at : at + size])
        at += size
        while (answer := replies.get(Shape(most, MAX_DEPTH if most else 0))) is not MORE:
            found.append(answer)
    return found


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b":-12\r\n", -12),
        (b"$5\r\nab\r\nc\r\n", b"ab\r\nc"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*0\r\n", []),
        (b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n$-1\r\n", [1, [b"a", []], None]),
        (b"_\r\n", None),
        (b"#t\r\n", True),
        (b",1.5\r\n", 1.5),
        (b",inf\r\n", float("inf")),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", [b"a", 1, b"b", 2]),
        (b"%0\r\n", []),
        (b"~1\r\n:1\r\n", [1]),
        (b"$1500\r\n" + b"x" * 1_500 + b"\r\n", b"x" * 1_500),
    ],
    ids=lambda value: str(value)[:20],
)
def test_each_kind_of_answer(data: bytes, value: Any) -> None:
    assert parsed(data) == [value]
    assert parsed(data * 2, sizes=(1,) * len(data)) == [value, value]


def test_errors_are_answers_inside_others_too() -> None:
    first, (inner, _) = parsed(b"-NOPERM no\r\n*2\r\n-ERR caf\xc3\xa9\r\n:1\r\n")
    assert isinstance(first, RedisError)
    assert (first.code, str(first)) == ("NOPERM", "NOPERM no")
    assert isinstance(inner, RedisError)
    assert str(inner) == "ERR café"


@pytest.mark.parametrize(
    ("text", "of_server"),
    [
        ("NOAUTH Authentication required.", True),
        ("WRONGPASS invalid username-password pair or user is disabled.", True),
        ("LOADING Redis is loading the dataset in memory", True),
        ("ERR max number of clients reached", True),
        ("ERR invalid password", True),
        ("ERR Client sent AUTH, but no password is set", True),
        ("ERR wrong number of arguments for 'auth' command", True),
        ("ERR wrong number of arguments for 'AUTH' command", True),
        ("ERR wrong number of arguments for 'llen' command", False),
        ("NOPERM no permissions to access a key", False),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
        ("NOAUTHORITY", False),
        ("", False),
    ],
)
def test_errors_that_concern_every_command_are_told_apart(text: str, of_server: bool) -> None:  # noqa: FBT001 - a value
    assert RedisError(text).of_server == of_server


def test_pushed_message_without_content_is_no_answer() -> None:
    found = parsed(b">0\r\n:1\r\n", most=0, sizes=(20, 20))

    assert found == [[], 1]
    assert isinstance(found[0], Push)


def test_pushed_message_is_told_apart_whatever_was_asked() -> None:
    push = b">2\r\n$10\r\ninvalidate\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
    found = parsed(push + b":1\r\n", most=0, sizes=(20, 20))
    assert found == [[b"invalidate", [b"a", b"b", b"c"]], 1]
    assert isinstance(found[0], Push)


values = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=60),
    lambda children: st.lists(children, max_size=5),
    max_leaves=20,
)


def written(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(written, value))


def depth(value: Any) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(
    st.lists(values.filter(lambda value: depth(value) <= MAX_DEPTH), max_size=5),
    st.lists(st.integers(1, 40), max_size=30),
)
def test_answers_are_the_same_however_they_are_cut(answers: list[Any], sizes: list[int]) -> None:
    assert parsed(b"".join(map(written, answers)), sizes=tuple(sizes)) == answers


@given(st.binary(max_size=200) | st.text("*$%~>+-:_#,(=|?\r\n0123456789x", max_size=60).map(str.encode))
def test_whatever_comes_is_understood_as_hiredis_does_or_refused(data: bytes) -> None:
    try:
        found = parsed(data, sizes=(7,))
    except ProtocolError:
        return
    if not set(data) & set(b"%~-"):  # maps, sets and errors are told in another way
        reader = hiredis.Reader()
        reader.feed(data)
        assert found == [reader.gets() for _ in found]


# Limits


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"*2000000000\r\n", "2000000000 elements, more than what was asked"),
        (b"%2000000000\r\n", "4000000000 elements"),
        (b"~2000000000\r\n", "2000000000 elements"),
        (b">2000000000\r\n", "2000000000 elements"),
        (b"*1\r\n*2000000000\r\n", "2000000000 elements"),
        (b"*99999999999999999999\r\n", "not Redis' protocol"),
        (b"*1001\r\n", "1001 elements"),
        (b"$2097152\r\n", "more than 1 MiB"),
        (b"*1\r\n$2097152\r\n", "more than 1 MiB"),
        (b"*1\r\n" * (MAX_DEPTH + 1), "a list where what was asked for has none"),
        (b">1\r\n" + b"*1\r\n" * PUSHED.depth, "a list where what was asked for has none"),
        (b"+" + b"x" * (MAX_LINE_BYTES + 1), "not Redis' protocol"),
        (b":" + b"9" * 5_000 + b"\r\n", "not Redis' protocol"),
        (b"$3\r\nabcd\r\n", "not Redis' protocol"),
        (b"(1\r\n", "not Redis' protocol"),
        (b"*?\r\n", "not Redis' protocol"),
        (b",nan\r\n", "not Redis' protocol"),
        (b"#x\r\n", "not Redis' protocol"),
        (b"$1_0\r\n", "not Redis' protocol"),
        (b"\x15\x03\x03\x00\x02\x02\x46\r\n", "not Redis' protocol"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_too_large_or_no_answer_is_refused_at_its_head(data: bytes, told: str) -> None:
    tracemalloc.start()
    try:
        for sizes in ((), (1,) * min(len(data), 40)):
            with pytest.raises(ProtocolError, match=told):
                parsed(data, sizes=sizes)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "element", [b"*0\r\n", b":1\r\n", b"$-1\r\n", b"+\r\n", b",1\r\n", b"%0\r\n", b"$1\r\nx\r\n"], ids=repr
)
def test_small_values_count_as_what_they_become(element: bytes) -> None:
    replies = Replies(ROOM)
    data = b"*200000\r\n" + element * 200_000

    def take() -> None:
        for at in range(0, len(data), 32_768):
            replies.feed(data[at : at + 32_768])
            replies.get(Shape(200_000, 2))

    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="more than 1 MiB"):
            take()
        assert tracemalloc.get_traced_memory()[0] < 2 * ROOM
    finally:
        tracemalloc.stop()


def test_limit_is_for_each_round_trip() -> None:
    replies = Replies(1_000)
    for _ in range(5):
        replies.feed(b"$600\r\n" + b"x" * 600 + b"\r\n")
        assert len(replies.get(NO_LIST)) == 600
        replies.begin(1_000)


@pytest.mark.parametrize(
    ("command", "shape"),
    [
        (("LLEN", "queue:default"), (0, 0, SHORT_BYTES)),
        (("LINDEX", "queue:default", -1), (0, 0)),
        (("TIME",), (2, 1, SHORT_BYTES)),
        (("HMGET", b"key", "a", "b"), (3, 1)),
        (("ZRANGEBYSCORE", "schedule", "-inf", 1.5, "WITHSCORES", "LIMIT", 0, 500), (1_000, 1)),
        (("SMEMBERS", "processes"), (MAX_ELEMENTS, 1)),
        (("SCAN", b"0", "COUNT", 1_000), (MAX_ELEMENTS, 2)),
        (("hmget", b"key", "a"), (2, 1)),
        (("INFO", "server"), (0, 0, INFO_BYTES)),
        (("SENTINEL", "MASTER", "m"), (1_000, 2, SHORT_BYTES)),
    ],
    ids=lambda value: str(value[0]),
)
def test_what_was_asked_says_what_may_come(command: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    assert shape_of(command) == Shape(*shape)


@pytest.mark.parametrize("inner", [b"*0\r\n", b"*1\r\n:1\r\n", b"%0\r\n"], ids=repr)
def test_list_in_a_set_is_refused(inner: bytes) -> None:
    """250,000 empty lists would keep the garbage collector busy."""
    replies = Replies(ROOM)
    replies.feed(b"*1\r\n" + inner)
    with pytest.raises(ProtocolError, match="a list where what was asked for has none"):
        replies.get(Shape(10, 1))


@pytest.mark.parametrize("piece", [1_000_000, 100, 1 << 24], ids=["pieces", "small pieces", "at once"])
def test_string_that_is_too_long_is_left_out_and_the_rest_goes_on(piece: int) -> None:
    size = MAX_STRING_BYTES + 1
    data = b"*2\r\n$%d\r\n%s\r\n:7\r\n+next\r\n" % (size, b"\r\n*9\r\n".ljust(size, b"x"))
    found = parsed(data, sizes=(piece,) * (len(data) // piece))
    (left_out, seven), after = found
    assert isinstance(left_out, TooLongError)
    assert str(left_out) == "a string of 4096 KiB, more than 4096 KiB"
    assert (seven, after) == (7, b"next")


def test_a_large_string_is_not_copied_for_each_piece() -> None:
    """4 MiB in pieces of 256 bytes: joined once, not 16,000 times."""
    replies = Replies(64 << 20)
    replies.feed(b"$%d\r\n" % MAX_STRING_BYTES)
    assert replies.get(NO_LIST) is MORE
    before = time.process_time()
    piece = b"x" * 256
    for _ in range(MAX_STRING_BYTES // len(piece)):
        replies.feed(piece)
        assert replies.get(NO_LIST) is MORE
    replies.feed(b"\r\n")
    assert len(replies.get(NO_LIST)) == MAX_STRING_BYTES
    assert time.process_time() - before < 1  # each copy of all takes 0.5 ms, so 16,000 take 8 s


def test_piece_of_a_read_is_parsed_quickly() -> None:
    """The loop reads 32 KiB at a time; with the dearest content that is 8,000 values."""
    replies = Replies(32 << 20)
    replies.feed(b"*100000\r\n" + b":1\r\n" * 8_000)
    took = []
    for _ in range(5):
        before = time.process_time()
        replies.get(Shape(100_000, 1))
        took.append(time.process_time() - before)
        replies.feed(b":1\r\n" * 8_000)
    assert min(took) < 0.02


def test_heartbeats_of_5000_processes() -> None:
    info = json.dumps({"hostname": "web-1", "queues": ["a", "b"], "concurrency": 5}).encode()
    fields = b"".join(written(value) for value in (info, b"3", b"1795345098.1", b"false", b"5"))
    found = parsed((b"*5\r\n" + fields + b":59000\r\n") * 5_000, room=32 << 20)
    assert len(found) == 10_000
    assert found[-2:] == [[info, b"3", b"1795345098.1", b"false", b"5"], 59_000]
