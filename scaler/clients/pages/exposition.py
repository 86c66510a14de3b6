"""Parses a page of metrics (Prometheus text or OpenMetrics) while it streams in, and adds up the wanted series."""

import codecs
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_LINE_BYTES = 64 * 1024
MAX_SUM_BYTES = 1024 * 1024
"""Memory for the sums of one page, about 4,000; more means that a label differs from series to series."""
SUM_BYTES = 200
"""Memory of a sum besides the text of its label value: two strings, a number and a dictionary entry."""
MAX_GROUP_BYTES = 1024
"""Longest label value by which series are added up."""
MAX_LAYOUTS, MAX_LAYOUT_BYTES = 16, 4096
"""Limits of the line layouts that get a regular expression of their own, which is costly to make."""

_LABEL = rb'[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\]++|\\.)*+)"[ \t]*+'
_LABELS = re.compile(_LABEL)
_ANY_LABEL = re.sub(rb"\((?!\?)", b"(?:", _LABEL)  # without groups
_SAMPLE = re.compile(
    rb"[ \t]*+([a-zA-Z_:][a-zA-Z0-9_:]*+)"
    rb"(?:[ \t]*+\{((?:" + _ANY_LABEL + rb"(?:," + _ANY_LABEL + rb")*+,?+)?+[ \t]*+)\}[ \t]*+|[ \t]++)"
    rb"([-+.0-9a-zA-Z]++)"  # value
    rb"(?:[ \t]++([-+.0-9eE]++))?"  # timestamp; `?+` loses the position if only the blanks match (Python 3.11.2)
    rb"(?:[ \t]++\#.*)?[ \t\r]*"  # exemplar
)
END = b"# EOF"
"""The last line of an OpenMetrics page."""
_ESCAPED = re.compile(rb'\\([\\n"])')
_NOTHING = re.compile(rb"(?!)")


class PageError(ValueError):
    """The page is malformed, incomplete, or larger than a limit."""


@dataclass(frozen=True, slots=True)
class Family:
    """Series to add up: all with `name`, with one sum for each value of a label.

    The label is the first of `by` that a series has with a value; a series without any counts for the group "". The
    values are counts, so one that is NaN, negative or infinite makes the sum of its group NaN.
    """

    name: str
    by: tuple[str, ...] = ()


Sums = dict[str, dict[str, float]]
"""Family → group → sum. A family or group without series is missing, which is not the same as 0."""


LEADER = Family("leader_election_master_status")
"""A series of client-go's leader election: 0 while the pod is on standby."""

START = Family("process_start_time_seconds")
"""Published by the client libraries of Prometheus: since when the process runs, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Page:
    """The sums of one page; `name` is the pod or the address."""

    name: str
    sums: Sums

    @property
    def stands_by(self) -> bool:
        """Tell whether the pod takes part in leader elections and leads in none of them."""
        return self.sums.get(LEADER.name, {}).get("") == 0


def as_count(value: float) -> float:
    """Return `value` if it can be a count, else NaN, which makes every sum NaN."""
    return value if 0 <= value < math.inf else math.nan


def count_in(text: bytes) -> float:
    """Return the number `text` as a count.

    Raises `ValueError` for what Go does not write as a number, though Python reads it (`1_0`), and for a number so small
    that it would become 0.
    """
    value = float(text)
    if b"_" in text or (value == 0 and _NOT_ZERO.match(text)):
        raise ValueError(text)
    return as_count(value)


_NOT_ZERO = re.compile(rb"[^eE1-9]*[1-9]")
"""A digit other than 0 before the exponent."""


class PageParser:
    """Parses a page in pieces of any size into sums; both methods may raise `PageError`."""

    def __init__(self, families: Iterable[Family]) -> None:
        """Add up `families`, and skip all other series."""
        self._by = {family.name.encode(): [label.encode() for label in family.by] for family in families}
        # A line that begins with blanks, a brace (its name is in quotes) or a byte order mark is looked at to find out its
        # series.
        self._prefixes = (*self._by, b" ", b"\t", b"{", codecs.BOM_UTF8)
        self._quoted = tuple(b'"' + name + b'"' for name in self._by)
        self._sums: dict[bytes, dict[bytes, float]] = {}
        self.kept_bytes = 0
        """Approximate memory of the sums."""
        self.oldest = math.inf
        """The oldest timestamp that a series has, in milliseconds, with OpenMetrics in seconds."""
        self._alike = _NOTHING
        self._alike_sums: dict[bytes, float] = {}
        self._layouts = 0
        self._rest = b""
        self._last = b""

    def feed(self, piece: bytes) -> None:
        """Parse the next piece."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise PageError(f"a line is longer than {MAX_LINE_BYTES} bytes, which is the limit")
        if lines:
            self._last = lines[-1]
        for line in lines:
            if line.startswith(self._prefixes):
                self._take(line)

    def close(self, end: str, *, openmetrics: bool = False) -> tuple[Sums, str]:
        """Return the sums of the complete page, and what has proved that it is complete.

        The proof is `end` of the transport (see `fetch.Answer`) or, if that is empty, the last line of OpenMetrics. A
        page of type `openmetrics` must have that line. Raises `PageError` for a page without proof.
        """
        last = self._rest or self._last
        says_so = last.rstrip(b"\r") == END
        if self._rest.lstrip().startswith(b"<"):
            raise PageError("it is HTML, and no page of metrics; is it the right port and path?")
        if self._rest and not says_so:
            raise PageError("the last line has no end: the page was cut short")
        if openmetrics and not says_so:
            raise PageError("the page does not end with # EOF: it was cut short")
        if not end and not says_so:
            raise PageError(
                "nothing shows that this is all of the page: it came without a length and without chunks (HTTP/1.0, or a "
                "proxy that speaks it), and a connection that was cut looks the same"
            )
        sums = {
            name.decode(): {group.decode(): as_count(total) for group, total in groups.items()}
            for name, groups in self._sums.items()
        }
        return sums, end or "its # EOF"

    def _take(self, line: bytes) -> None:
        """Add up `line`; one with the layout of the line before takes a fifth of the time."""
        alike = self._alike.fullmatch(line)
        if alike is None or b"\\" in line:
            self._take_apart(line)
        else:
            group, value = alike.groups()
            self._add(self._alike_sums, group, value)

    def _take_apart(self, line: bytes) -> None:
        sample = _SAMPLE.fullmatch(line)
        if sample is None:
            text = line.lstrip()
            if not text or text.startswith(b"#"):
                return
            if text.startswith(b"{") and not any(name in text for name in self._quoted):
                return  # a name in quotes is not understood, but this one is not wanted
            raise PageError(f"not a series: {_shown(line)}")
        name, labels, value, stamp = sample.groups()
        if name not in self._by:
            return
        if stamp is not None:
            self._note_time(stamp)
        found = _LABELS.findall(labels or b"")
        position = {label: index for index, (label, _) in enumerate(found)}
        if len(position) != len(found):
            raise PageError(f"a label is given twice: {_shown(line)}")
        carried = [position[label] for label in self._by[name] if label in position]
        chosen = next((index for index in carried if found[index][1]), None)
        group = b"" if chosen is None else _ESCAPED.sub(_unescape, found[chosen][1])
        sums = self._sums.setdefault(name, {})
        self._add(sums, group, value)
        if chosen == next(iter(carried), None):  # else the next series may have a value for a label that is empty here
            self._remember(line, len(found), chosen, sums)

    def _add(self, sums: dict[bytes, float], group: bytes, value: bytes) -> None:
        total = sums.get(group)
        if total is None:
            total = 0.0
            self._admit(group)
        try:
            sums[group] = total + count_in(value)
        except ValueError:
            raise PageError(f"not a number: {_shown(value)}") from None

    def _note_time(self, stamp: bytes) -> None:
        try:
            self.oldest = min(self.oldest, float(stamp))
        except ValueError:
            raise PageError(f"not a timestamp: {_shown(stamp)}") from None

    def _admit(self, group: bytes) -> None:
        self.kept_bytes += SUM_BYTES + len(group)
        if self.kept_bytes > MAX_SUM_BYTES:
            raise PageError(f"its sums would take more than {MAX_SUM_BYTES} bytes, which is the limit")
        if len(group) > MAX_GROUP_BYTES:
            raise PageError(f"a label value is longer than {MAX_GROUP_BYTES} bytes, which is the limit")
        try:
            group.decode()
        except UnicodeDecodeError:
            raise PageError(f"a label value is not UTF-8: {_shown(group)}") from None

    def _remember(self, line: bytes, labels: int, chosen: int | None, sums: dict[bytes, float]) -> None:
        """Make a regular expression for `line`: the next one mostly differs in label values and value only."""
        pieces = line.split(b'"')
        simple = len(pieces) == 2 * labels + 1 and b"\\" not in line and len(line) <= MAX_LAYOUT_BYTES
        if not simple or self._layouts == MAX_LAYOUTS:
            return
        self._layouts += 1
        pattern = b"" if chosen is not None else b"()"
        for index, between in enumerate(pieces[:-1:2]):
            value = b'"([^"]++)"' if index == chosen else b'"[^"]*+"'
            pattern += re.escape(between) + value
        self._alike = re.compile(pattern + rb"\} ([-+.0-9eE]++)")
        self._alike_sums = sums


def _unescape(escape: re.Match[bytes]) -> bytes:
    return b"\n" if escape[1] == b"n" else escape[1]


def _shown(text: bytes) -> str:
    return repr(text[:120].decode("utf-8", "replace"))
