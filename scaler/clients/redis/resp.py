r"""Redis' protocol as a client reads it (redis.io, RESP2 and RESP3), with limits that hold before anything is built.

hiredis makes the list that a header announces at once: the 15 bytes `*2000000000\r\n` take 16 GB. Here nothing is made
before its bytes have come, and they count as what they become. It takes 0.5 µs for a value, hiredis 0.06 µs.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from redis._parsers import BaseParser  # its table from texts to exceptions has no public name
from redis.exceptions import ResponseError

from scaler.core.errors import Unavailable

MAX_STRING_BYTES = 4 << 20
"""Of one string; a longer one is left out, since to look into it would take too long (a whole job is read for its time)."""
MAX_LINE_BYTES = 64 << 10
"""Of a header, a number, a simple string or an error."""
_VALUE_BYTES = 48
"""What Python takes for a value besides its content, and for its place in a list."""
_LIST_BYTES = 96

MORE: Final = object()
"""The answer is not whole yet."""


class ProtocolError(Unavailable):
    """The bytes are no answer of Redis, or more than was asked for."""


class TooLongError(ResponseError):
    """Stands in an answer for a string that was left out."""


class Push(list[Any]):
    """A message that nobody has asked for (RESP3)."""


class Shape(NamedTuple):
    """What the answer to a command can be at most: how many elements a list has, and how many lists are in each other."""

    elements: int
    depth: int


PUSHED = Shape(100_000, 2)
"""A message that was not asked for: keys that have changed."""


class Replies:
    """Takes bytes as they come and gives answers; what they become in memory has a limit.

    A map is told as its pairs in a row, as RESP2 does: a dict could be made slow by its keys.
    """

    def __init__(self, max_bytes: int) -> None:
        """Allow `max_bytes` until `begin` is called."""
        self._buffer, self._at = b"", 0
        self._coming: list[bytes] = []
        self._missing = 0  # bytes, before it is of use to look again
        self._left_out = 0  # bytes that are still to come of what is left out
        self._stack: list[tuple[list[Any], int]] = []  # lists that are not complete, and how much they lack
        self.begin(max_bytes)

    def begin(self, max_bytes: int) -> None:
        """Count anew, for another round trip."""
        self.max_bytes, self.bytes = max_bytes, 0

    def feed(self, data: bytes) -> None:
        """Take `data`."""
        if self._left_out:
            data, self._left_out = data[self._left_out :], max(0, self._left_out - len(data))
        self._coming.append(data)
        self._missing -= len(data)

    def get(self, shape: Shape) -> Any:
        """Return the next answer, an exception for an error, or `MORE`; raises `ProtocolError`.

        `shape` is what the answer to what was asked can be. It takes as long as what was fed is large, so feed little
        at a time.
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
                if MAX_STRING_BYTES >= size > room:
                    raise ProtocolError(self._too_large())
                if size > MAX_STRING_BYTES:
                    after = end + 4 + size
                    self._left_out, at = max(0, after - len(buffer)), min(after, len(buffer))
                    value = TooLongError(f"a string of {size >> 20} MiB, more than {MAX_STRING_BYTES >> 20} MiB")
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
_error: Callable[[str], Exception] = BaseParser.parse_error
_SIZES = {b"%d" % size: size for size in range(1_024)}


def _size(line: bytes) -> int:
    """Return the length in a header; -1 stands for null."""
    if line.isdigit() and len(line) <= 10:
        return int(line)
    if line == b"-1":
        return -1
    raise ProtocolError(_NOT_REDIS)


def _one_line(kind: int, line: bytes) -> Any:
    """Return a value that is one line, by the byte before it."""
    match chr(kind):
        case "+":
            return line
        case "-":
            return _error(line.decode("utf-8", "replace"))
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
