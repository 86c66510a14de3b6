"""JSON that is taken apart while it arrives, never much of it at once: values of any size and depth, in small steps.

The standard library's decoder takes a tenth of a second for one object of 1.5 MiB that holds nothing but `[]`, and gives
up at a thousand arrays in each other, which Kubernetes lets anybody store. So a large value is built of parts: what is
flat is decoded many elements at a time, at the speed of that decoder, and what is around them is entered.
"""

import codecs
import json
import re
from collections.abc import Generator
from typing import Any

MAX_VALUE_SIZE = 4 * 2**20  # characters; etcd takes requests of 1.5 MiB unless its flags say otherwise
WHOLE_SIZE = 2**14
"""Characters of a value that is decoded whole, in a millisecond; a larger one is built of parts."""


class BadAnswerError(Exception):
    """What came instead of an answer, in words that follow "answered with"."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_no_constant)

# These only find where values end; the decoder judges what is in them. Single characters are possessive and groups are not,
# because a group of Python 3.11.2 that matches in part loses the position.
_SPACE = r"[ \t\r\n]*+"
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_SCALAR = rf'(?:{_STRING}|[^\s"\[\]{{}},:]++)'


def _flat(depth: int) -> str:
    """Return the pattern of a value with at most `depth` arrays and objects in each other."""
    if not depth:
        return _SCALAR
    inner = rf"(?:(?:{_STRING}{_SPACE}:{_SPACE})?{_flat(depth - 1)}{_SPACE},?{_SPACE})*"
    return rf"(?:{_SCALAR}|[\[{{]{_SPACE}{inner}[\]}}])"


_DEPTH = 8
_FLAT = re.compile(_flat(_DEPTH), re.DOTALL)
_ELEMENTS = re.compile(rf"(?:{_SPACE}{_flat(_DEPTH)}{_SPACE},)+", re.DOTALL)
_MEMBERS = re.compile(rf"(?:{_SPACE}{_STRING}{_SPACE}:{_SPACE}{_flat(_DEPTH)}{_SPACE},)+", re.DOTALL)
_BLANK = re.compile(_SPACE)


class JsonText:
    """Text of JSON that comes in pieces; a subclass says in `_take_apart` what it consists of."""

    what = "something"
    part = "a value"

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0
        self._gone = 0  # characters before `_text`
        self._enough = 0  # characters to wait for, so that a long string is not tried again at every piece
        self._final = False
        self._begun = 0  # where the present value begins
        self.large = False
        """Whether a value is under way that is built of parts: it may take 25 bytes for each of its characters."""
        self._steps = self._take_apart()

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take what `data` completes; raises `BadAnswerError`."""
        try:
            self._text = self._text[self._at :] + self._decode.decode(data, final)
            self._gone, self._at, self._final = self._gone + self._at, 0, final
            if final or len(self._text) >= self._enough:
                next(self._steps, None)
        except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError too
            raise BadAnswerError(f"{self.what} that is not JSON ({type(error).__name__})") from None
        if self._gone + len(self._text) - self._begun > MAX_VALUE_SIZE:
            raise BadAnswerError(
                f"{self.part} of more than {MAX_VALUE_SIZE >> 20} MiB, which is the limit, or not JSON"
            )
        if len(self._text) >= self._enough:
            self._enough = 2 * (len(self._text) - self._at)

    def _take_apart(self) -> Generator[None]:
        """Yield whenever more text is needed."""
        raise NotImplementedError

    def _skip_space(self) -> int:
        self._at = _BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches the empty text
        return self._at

    def _peek(self) -> Generator[None, None, str]:
        while self._skip_space() == len(self._text):
            yield
        return self._text[self._at]

    def _mark(self, allowed: str) -> Generator[None, None, str]:
        found = yield from self._peek()
        if found not in allowed:
            raise ValueError("another character than JSON has here")
        self._at += 1
        return found

    def _value(self) -> Generator[None, None, Any]:
        """Return the next value, however large it is."""
        opening = yield from self._peek()
        self._begun = self._gone + self._at
        value = yield from self._whole() if opening in "[{" else self._flat_value()
        self._begun = self._gone + self._at
        return value

    def _whole(self) -> Generator[None, None, Any]:
        """Return the array or object that begins here: decoded whole once it is there, unless it is large."""
        while True:
            try:
                value, self._at = DECODER.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, RecursionError) or len(self._text) - self._at > WHOLE_SIZE:
                    break
            else:
                return value
            yield
        self.large = True
        value = yield from self._parts()
        self.large = False
        return value

    def _parts(self) -> Generator[None, None, Any]:
        """Return the array or object that begins here, built of its parts."""
        around: list[Any] = []
        made = self._entered()
        while True:
            closing = "]" if isinstance(made, list) else "}"
            after_comma = self._many(made)
            if (yield from self._peek()) != closing:
                child = yield from self._one(made)
                if child is not None:
                    around.append(made)
                    made = child
                    continue
            elif after_comma:
                raise ValueError("nothing after a comma")
            # Here is a comma, or the end of this and of what is around it.
            while (yield from self._mark(f",{closing}")) != ",":
                if not around:
                    return made
                made = around.pop()
                closing = "]" if isinstance(made, list) else "}"
            if (yield from self._peek()) == closing:
                raise ValueError("nothing after a comma")

    def _entered(self) -> Any:
        self._at += 1
        return [] if self._text[self._at - 1] == "[" else {}

    def _many(self, made: Any) -> bool:
        """Take all flat elements or members of `made` that are there with their commas; tell whether there were any."""
        pattern, brackets = (_ELEMENTS, "[]") if isinstance(made, list) else (_MEMBERS, "{}")
        found = pattern.match(self._text, self._at)
        if found is None:
            return False
        self._at = found.end()
        parts = DECODER.decode(f"{brackets[0]}{found[0][:-1]}{brackets[1]}")
        made.extend(parts) if isinstance(made, list) else made.update(parts)
        return True

    def _one(self, made: Any) -> Generator[None, None, Any]:
        """Take one element or member of `made`; return it, empty yet, if it is to be entered."""
        key = None
        if isinstance(made, dict):
            if (yield from self._peek()) != '"':
                raise ValueError("a key that is no string")
            key = yield from self._flat_value()
            yield from self._mark(":")
        opening = yield from self._peek()
        child = None
        if opening in "[{" and not self._is_there(_FLAT.match(self._text, self._at)):
            value = child = self._entered()
        else:
            value = yield from self._flat_value()
        if key is None:
            made.append(value)
        else:
            made[key] = value
        return child

    def _is_there(self, found: re.Match[str] | None) -> bool:
        return found is not None and (found.end() < len(self._text) or self._final)

    def _flat_value(self) -> Generator[None, None, Any]:
        """Return a value that is flat, once it is there to its end."""
        while not self._is_there(found := _FLAT.match(self._text, self._at)):
            if found is None and self._text[self._at] != '"':
                raise ValueError("no value where one should be")
            yield
        value, self._at = DECODER.raw_decode(self._text, self._at)
        return value
