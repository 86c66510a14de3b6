"""Parses the part of PromQL that queries for autoscaling use: selectors, aggregations, functions, arithmetic."""

import re
from dataclasses import dataclass

MAX_LENGTH = 10_000
MAX_DEPTH = 50
AGGREGATIONS = frozenset({"sum", "max", "min", "avg"})
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z_]))
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    |(?P<range>\[[^\]]*\])
    |(?P<op>=~|!~|==|!=|>=|<=|[-+*/%^(){},=<>@])""",
    re.VERBOSE | re.DOTALL,
)
_LEVELS = (("or",), ("and", "unless"), ("==", "!=", ">", "<", ">=", "<="), ("+", "-"), ("*", "/", "%"))


class NotUnderstoodError(ValueError):
    """The query has a part that this parser does not support."""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric with its matchers: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an aggregation of `arguments`."""

    name: str
    arguments: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator with two sides, without its label matching."""

    op: str
    left: "Expression"
    right: "Expression"


Expression = Number | Selector | Call | Binary


def parse(query: str) -> Expression:
    """Return the tree of `query`; raises `NotUnderstoodError`."""
    if len(query) > MAX_LENGTH:
        raise NotUnderstoodError("it is very long")
    parser = _Parser(_tokens(query))
    tree = parser.binary(0)
    if parser.peek() != ("end", ""):
        raise NotUnderstoodError(f"{parser.peek()[1]!r} stands where it should end")
    return tree


def _tokens(query: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            raise NotUnderstoodError(f"{query[at]!r} is not known here")
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
        at = match.end()
    return [*found, ("end", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)  # never beyond the end token
        return token

    def _take(self, text: str) -> bool:
        if self.peek()[1] == text and self.peek()[0] in {"op", "name"}:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise NotUnderstoodError(f"{text!r} is missing before {self.peek()[1]!r}")

    def binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._unary()
        left = self.binary(level + 1)
        while self.peek()[1] in _LEVELS[level] and self.peek()[0] in {"op", "name"}:
            op = self._next()[1]
            self._take("bool")
            while self.peek()[1] in {"on", "ignoring", "group_left", "group_right"}:
                self._next()
                self._labels()
            left = Binary(op, left, self.binary(level + 1))
        return left

    def _unary(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotUnderstoodError("it is nested very deeply")
        try:
            found = self._primary()
            while self.peek()[0] == "range" or self.peek()[1] in {"offset", "@"}:
                if self._next()[0] != "range":
                    raise NotUnderstoodError("it looks at another time (offset, @)")
            return found
        finally:
            self._depth -= 1

    def _primary(self) -> Expression:
        kind, text = self._next()
        if kind == "number":
            return Number(float(text))
        if text == "(":
            inner = self.binary(0)
            self._expect(")")
            return inner
        if text == "{":
            return self._selector("")
        if kind != "name":
            raise NotUnderstoodError(f"{text or 'the end'!r} stands where a metric should")
        self._by()
        if self._take("("):
            arguments = [] if self.peek()[1] == ")" else [self.binary(0)]
            while self._take(","):
                arguments.append(self.binary(0))
            self._expect(")")
            self._by()
            return Call(text, tuple(arguments))
        return self._selector(text) if self._take("{") else Selector(text)

    def _by(self) -> None:
        if self.peek()[1] in {"by", "without"} and self.peek()[0] == "name":
            self._next()
            self._labels()

    def _labels(self) -> None:
        if self._take("("):
            while not self._take(")"):
                if self._next()[0] == "end":
                    raise NotUnderstoodError("')' is missing")

    def _selector(self, name: str) -> Selector:
        matchers: list[tuple[str, str, str]] = []
        while not self._take("}"):
            kind, label = self._next()
            op, (value_kind, value) = self._next()[1], self._next()
            if kind != "name" or op not in {"=", "!=", "=~", "!~"} or value_kind != "string":
                raise NotUnderstoodError(f"the matcher of {label!r} cannot be read")
            inside = value[1:-1] if value[0] == "`" else re.sub(r"\\(.)", r"\1", value[1:-1])
            if label == "__name__" and op == "=":
                name = inside
            else:
                matchers.append((label, op, inside))
            self._take(",")
        return Selector(name, tuple(matchers))
