"""The language of `scalingModifiers.formula` (expr-lang.org, as KEDA compiles it): parsed into functions of the variables.

Strings, maps, fields, ranges, dates and some functions are not known here; `FormulaError` says which part it was.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from scaler.keda.expression_nodes import (
    Node,
    binary,
    called,
    choice,
    constant,
    listed,
    named,
    negated,
    number_of,
    over,
    variable,
)
from scaler.keda.expression_values import FUNCTIONS, PREDICATES, FormulaError, MistakeError, Value, number, truth

MOST_CHARACTERS, _MOST_TOKENS, _LONGEST_WORD = 2_000, 400, 253
_MOST_PREDICATES = 2
"""Within each other; each goes through a whole list for each item of the one around it."""
_BLANK = r"(?>\s+|//[^\n]*|/\*.*?\*/)"
_BLANK_END = re.compile(rf"{_BLANK}++\Z", re.DOTALL)
_TOKEN = re.compile(
    rf"{_BLANK}*+"
    r"(0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*(?:\.(?!\.)[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?"
    r"|[#$]?[A-Za-z_]\w*|\?\?|\?\.|\.\.|&&|\|\||\*\*|[<>=!]=|\S)",
    re.DOTALL,
)
_BINDING = {
    "|": 0, "||": 10, "or": 10, "&&": 15, "and": 15, "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20, "in": 20,
    "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "^": 100, "??": 500,
}  # fmt: skip
"""How tightly an operator binds (expr parser/operator/operator.go); all are left associative but `**` and `^`."""
_SPELLINGS = {"&&": "and", "||": "or", "^": "**"}
_COMPARISONS = ("<", ">", "<=", ">=")
_UNARY: dict[str, tuple[int, Callable[[Value], Value]]] = {
    "not": (50, lambda value: not truth(value, "not")),
    "!": (50, lambda value: not truth(value, "!")),
    "-": (90, lambda value: -number(value, "-")),
    "+": (90, lambda value: number(value, "+")),
}
"""By sign: how tightly it binds, and its value."""


class Parsed(NamedTuple):
    """A formula as a function of its variables, and their names."""

    node: Node
    names: frozenset[str]


def parse(text: str) -> Parsed:
    """Parse a formula; raises `FormulaError` for what is not known here."""
    if len(text) > MOST_CHARACTERS:
        raise FormulaError(f"it has more than {MOST_CHARACTERS} characters")
    tokens = _TOKEN.findall(_BLANK_END.sub("", text))
    if len(tokens) > _MOST_TOKENS:
        raise FormulaError(f"it has more than {_MOST_TOKENS} words and signs")
    if len(max(tokens, key=len, default="")) > _LONGEST_WORD:
        raise FormulaError(f"a word of it has more than {_LONGEST_WORD} characters")
    parser = _Parser(tokens)
    try:
        node = parser.sequence()
    except RecursionError:
        raise FormulaError("its brackets are nested too deeply") from None
    parser.end()
    return Parsed(node, frozenset(parser.names))


class _Parser:
    """Reads tokens from left to right, as expr's parser does (parser/parser.go)."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._in_predicate = [*tokens, ""], 0, 0
        self._let: set[str] = set()
        self.names: set[str] = set()

    @property
    def _word(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        word = self._word
        self._at += bool(word)
        return word

    def _took(self, token: str) -> bool:
        found = self._word == token
        self._at += found
        return found

    def _expect(self, token: str) -> None:
        if not self._took(token):
            raise self._unknown()

    def _unknown(self) -> FormulaError:
        return FormulaError(f"`{self._word}` is not understood" if self._word else "it ends too early")

    def end(self) -> None:
        """Raise `FormulaError` if anything is left."""
        if self._word:
            raise self._unknown()

    def sequence(self) -> Node:
        """Parse `let name = value; …` or an expression."""
        if not self._took("let"):
            return self.expression(0)
        name = self._next()
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or name in FUNCTIONS or name in PREDICATES:
            raise MistakeError(f"`{name}` cannot be a name")
        self._expect("=")
        value = self.expression(0)
        self._expect(";")
        self._let.add(name)
        return named(name, value, self.sequence())

    def expression(self, binding: int) -> Node:
        """Parse as far as the operators bind at least as tightly as `binding`."""
        node, before = self._primary(), ""
        while self._binds(binding):
            reverse = self._took("not")
            sign = self._next()
            if before == "??" and sign not in {"??", "|"}:
                raise FormulaError(f"`{sign}` and `??` need brackets to stand side by side")
            before = sign
            if sign == "|":
                node = self._call(self._next(), [node])
            elif sign in _COMPARISONS:
                node = self._comparison(node, sign)
            else:
                tighter = _BINDING[sign] + (sign not in {"**", "^"})
                node = binary(_SPELLINGS.get(sign, sign), node, self.expression(tighter))
            node = negated(node) if reverse else node
        return self._conditional(node) if binding == 0 else node

    def _binds(self, binding: int) -> bool:
        sign = self._word
        if sign == "not" and self._tokens[self._at + 1] == "in":
            sign = "in"
        return _BINDING.get(sign, -1) >= binding

    def _comparison(self, left: Node, sign: str) -> Node:
        """Parse `a < b`, and `a < b < c`, which means `a < b and b < c`."""
        right = self.expression(_BINDING[sign] + 1)
        node = binary(sign, left, right)
        while self._word in _COMPARISONS:
            sign, left = self._next(), right
            right = self.expression(_BINDING[sign] + 1)
            node = binary("and", node, binary(sign, left, right))
        return node

    def _conditional(self, node: Node) -> Node:
        while self._took("?"):
            chosen = self.expression(0)
            self._expect(":")
            node = choice(node, chosen, self.expression(0))
        return node

    def _primary(self) -> Node:
        if self._word in _UNARY:
            binding, operator = _UNARY[self._next()]
            operand = self.expression(binding)
            return lambda variables: operator(operand(variables))
        if self._took("("):
            node = self.sequence()
            self._expect(")")
        elif self._took("["):
            node = listed(self._items("]"))
        else:
            node = self._leaf()
        while self._took("["):
            node = binary("[]", node, self.expression(0))
            self._expect("]")
        return node

    def _items(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._took(closing):
            if items:
                self._expect(",")
                if self._took(closing):
                    break
            items.append(self.expression(0))
        return items

    def _leaf(self) -> Node:
        token = self._word
        if re.match(r"\.?\d", token):
            return constant(number_of(self._next()))
        if token in {"true", "false", "nil"}:
            return constant({"true": True, "false": False, "nil": None}[self._next()])
        if token in {"#", "#acc", "#index"} and self._in_predicate:
            return variable(self._next())
        if not re.fullmatch(r"[A-Za-z_]\w*", token) or token in {"let", "if", "else", "in", "not", "and", "or"}:
            raise self._unknown()
        self._next()
        if self._word == "(":
            return self._call(token, [])
        self.names |= {token} - self._let
        return variable(token)

    def _call(self, name: str, piped: list[Node]) -> Node:
        """Parse the arguments of function `name`, the last of which may be a predicate over the items of the first."""
        self._expect("(")
        if name not in FUNCTIONS and name not in PREDICATES:
            raise FormulaError(f"the function `{name}` is not known here")
        arguments = [*piped]
        if name in PREDICATES:
            arguments += [] if piped else [self.expression(0)]
            if self._word != ")" and (piped or self._took(",")):
                predicate = self._predicate()
                initial = self.expression(0) if self._took(",") else None
                self._expect(")")
                return over(name, arguments[0], predicate, initial)
            self._expect(")")
        else:
            arguments += self._items(")")
        if name not in FUNCTIONS:
            raise FormulaError(f"`{name}` needs a predicate")
        return called(name, arguments)

    def _predicate(self) -> Node:
        if self._in_predicate == _MOST_PREDICATES:
            raise FormulaError(f"more than {_MOST_PREDICATES} predicates stand within each other")
        self._in_predicate += 1
        if self._took("{"):
            node = self.sequence()
            self._expect("}")
        else:
            node = self.expression(0)
        self._in_predicate -= 1
        return node
