r"""Parses answers in Redis' protocol (redis.io, RESP2 and RESP3), with limits that apply before memory is allocated.

hiredis allocates a list as large as its header says: the 15 bytes `*2000000000\r\n` take 16 GB. Here nothing is
allocated before its bytes have arrived, and the limit counts the memory that they become. This takes 0.5 µs for a
value, hiredis 0.06 µs.
"""

import math
import re
from typing import Any, Final, NamedTuple

from scaler.core.errors import Unavailable

MAX_STRING_BYTES = 4 << 20
"""Longest string of any answer: a job, which is read just for its time."""
MAX_LINE_BYTES = 64 << 10
"""Longest header, number, simple string or error."""
_VALUE_BYTES = 48
"""Memory of a Python object besides its content, with its place in a list."""
_LIST_BYTES = 96

MORE: Final = object()
"""Returned while the answer is not complete."""


class ProtocolError(Unavailable):
    """The bytes are not an answer of Redis, or it is larger than the command allows."""


class RedisError(Exception):
    """An error that Redis answered, as its text, whose first word is the code (redis.io, RESP: simple errors)."""

    @property
    def code(self) -> str:
        """The kind of error, such as `NOPERM`; `ERR` for any."""
        return str(self).partition(" ")[0]

    @property
    def of_server(self) -> bool:
        """Whether it concerns every command, not only the one that it answers."""
        return _OF_SERVER.match(str(self)) is not None


LOGIN_REFUSED = (
    r"WRONGPASS\b|ERR (invalid password|Client sent AUTH|AUTH <password> called|wrong number of arguments for 'auth')"
)
"""How servers of all versions answer a login that they do not take."""
_OF_SERVER = re.compile(rf"NOAUTH\b|LOADING\b|ERR max number of clients|{LOGIN_REFUSED}", re.IGNORECASE)


class TooLongError(RedisError):
    """Takes the place of a string that was left out of an answer."""


class Push(list[Any]):
    """A push message (RESP3)."""


class Shape(NamedTuple):
    """The largest possible answer to a command: elements of a list, depth of nested lists, and bytes of a string.

    A longer string is left out: whoever takes it apart does so at once, and not in turns.
    """

    elements: int
    depth: int
    string: int = MAX_STRING_BYTES


PUSHED = Shape(100_000, 2)
"""Limits of a push message: changed keys."""


class Replies:
    """Parses bytes as they arrive into answers, whose memory is limited.

    A map becomes a flat list of keys and values, as in RESP2, because hostile keys could make a dict slow.
    """

    def __init__(self, max_bytes: int) -> None:
        """Allow `max_bytes` until `begin` is called."""
        self._buffer, self._at = b"", 0
        self._coming: list[bytes] = []
        self._missing = 0  # bytes still needed before parsing can go on
        self._left_out = 0  # bytes still to come of a string that is left out
        self._stack: list[tuple[list[Any], int]] = []  # incomplete lists, each with its missing elements
        self.begin(max_bytes)

    def begin(self, max_bytes: int) -> None:
        """Start to count again, for the next round trip."""
        self.max_bytes, self.bytes = max_bytes, 0

    def feed(self, data: bytes) -> None:
        """Add `data` to the buffer."""
        if self._left_out:
            data, self._left_out = data[self._left_out :], max(0, self._left_out - len(data))
        self._coming.append(data)
        self._missing -= len(data)

    def get(self, shape: Shape) -> Any:
        """Return the next answer, an exception for an error, or `MORE`; raises `ProtocolError`.

        `shape` limits the answer. The time that it takes grows with the bytes fed, so feed little at a time.
        """
        if self._coming and self._missing <= 0:
            self._buffer = b"".join((self._buffer[self._at :], *self._coming))
            self._at = 0
            self._coming.clear()
        elif self._missing > 0:
            return MORE
        return self._parse(shape)

    def _parse(self, shape: Shape) -> Any:  # noqa: C901, PLR0912, PLR0915 - one loop: a call for each value would double its time
        buffer, at, known, stack = self._buffer, self._at, _SIZES, self._stack
        if stack and isinstance(stack[0][0], Push):
            shape = PUSHED
        items, lacking = stack.pop() if stack else (None, 0)
        room = self.max_bytes - self.bytes
        self._missing = 0
        while True:
            end = buffer.find(b"\r\n", at)
            if end < 0:
                if len(buffer) - at > MAX_LINE_BYTES:
                    raise ProtocolError(_NOT_REDIS)
                break
            kind, line = buffer[at], buffer[at + 1 : end]
            value: Any = None
            if kind == _BULK:
                size = known.get(line)
                if size is None:
                    size = _size(line)
                if shape.string >= size > room:
                    raise ProtocolError(self._too_large())
                if size > shape.string:
                    after = end + 4 + size
                    self._left_out, at = max(0, after - len(buffer)), min(after, len(buffer))
                    value = TooLongError(f"a string of {size >> 10} KiB, more than {shape.string >> 10} KiB")
                elif size >= 0:
                    after = end + 2 + size
                    if after + 2 > len(buffer):
                        self._missing = after + 2 - len(buffer)
                        break
                    if buffer[after] != _CR or buffer[after + 1] != _LF:
                        raise ProtocolError(_NOT_REDIS)
                    value, at = buffer[end + 2 : after], after + 2
                    room -= _VALUE_BYTES + size
                else:
                    at = end + 2
                    room -= _VALUE_BYTES
            elif kind in _LISTS:
                at = end + 2
                size = (known.get(line) or _size(line)) * (2 if kind == _MAP else 1)
                pushed = kind == _PUSH and items is None
                shape = PUSHED if pushed else shape
                if size > shape.elements:
                    raise ProtocolError(f"an answer of {size} elements, more than what was asked for can have")
                if len(stack) + (items is not None) >= shape.depth and size >= 0:
                    raise ProtocolError("a list where what was asked for has none")
                room -= _LIST_BYTES
                if size > 0:
                    if items is not None:
                        stack.append((items, lacking))
                    items, lacking = Push() if pushed else [], size
                    continue
                value = None if size < 0 else Push() if pushed else []
            else:
                at = end + 2
                value = _one_line(kind, line)
                room -= _VALUE_BYTES + len(line)
            while items is not None:
                items.append(value)
                lacking -= 1
                if lacking:
                    break
                value = items
                items, lacking = stack.pop() if stack else (None, 0)
            else:
                self._at, self.bytes = at, self.max_bytes - room
                if room < 0:
                    raise ProtocolError(self._too_large())
                return value
        if items is not None:
            stack.append((items, lacking))
        self._at, self.bytes = at, self.max_bytes - room
        if room < 0:
            raise ProtocolError(self._too_large())
        return MORE

    def _too_large(self) -> str:
        return f"more than {self.max_bytes / (1 << 20):g} MiB of answers"


_NOT_REDIS = "an answer that cannot be understood: it is not Redis' protocol"
_BULK, _MAP, _PUSH, _CR, _LF = b"$%>\r\n"
_LISTS = frozenset(b"*%~>")
_SIZES = {b"%d" % size: size for size in range(1_024)}


def _size(line: bytes) -> int:
    """Return the length in a header; -1 means null."""
    if line.isdigit() and len(line) <= 10:
        return int(line)
    if line == b"-1":
        return -1
    raise ProtocolError(_NOT_REDIS)


def _one_line(kind: int, line: bytes) -> Any:
    """Return the value of one line, by the type byte before it."""
    match chr(kind):
        case "+":
            return line
        case "-":
            return RedisError(line.decode("utf-8", "replace"))
        case ":" if line.removeprefix(b"-").isdigit() and len(line) <= 20:
            return int(line)
        case "_" if not line:
            return None
        case "#" if line in {b"t", b"f"}:
            return line == b"t"
        case ",":
            return _double(line)
    raise ProtocolError(_NOT_REDIS)


def _double(line: bytes) -> float:
    try:
        number = float(line)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ProtocolError(_NOT_REDIS)
    return number
