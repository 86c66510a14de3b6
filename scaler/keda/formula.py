"""The formula of `scalingModifiers`: arithmetic, comparisons and choices; KEDA's language (expr-lang.org) has more."""

import ast
import math
import operator
import re
import statistics
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from scaler.keda.quantity import milli

Formula = Callable[[Mapping[str, float | None]], float | None]
"""The value by those of the triggers, where None is expr's `nil`: a trigger that failed too often. NaN is no value."""

_COALESCE = "**"
"""Replaces `??` for Python's parser, where it also binds tighter than every other operator; powers are not supported."""
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda above, below: above / below if below else math.inf * above,  # 0 / 0 is NaN
    ast.Pow: lambda value, other: other if value is None else value,  # `??`
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}
_OF_NUMBERS: dict[str, Callable[..., float]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
}
_OF_A_LIST: dict[str, Callable[..., float]] = {
    "max": max,
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "sum": sum,
}
_WORDS = frozenset({"true", "false", "nil", "and", "or", "not", "in", "if", "else"})
_OF_PYTHON = {"if", "else", "is", "lambda"}
"""Words that would mean something else to Python's parser, or nothing to KEDA."""
_PYTHON = {"??": f" {_COALESCE} ", "&&": " and ", "||": " or ", "!": " not "}
_TOKEN = re.compile(r"\s+|\?\?|&&|\|\||[<>=!]=|[\w.]+|.")


class _Trial(dict[str, float | None]):
    """Values with which every branch is evaluated, to find out whether all of them can be."""


def compiled(text: str, names: Collection[str]) -> Formula | None:
    """Return a function of the values by trigger name, or None if `text` is more than what is supported.

    Supported are `+ - * /`, `??`, comparisons, `&& || !`, `? :`, brackets, abs, ceil, floor, and max, min, mean, median
    and sum of numbers or a list. The result is what the HPA gets: in thousandths, and 0 for a negative or undefined
    number (KEDA pkg/scaling/modifiers/formula.go). It is None for `nil`, and NaN where KEDA fails because of a `nil`.
    """
    tokens = deque(_TOKEN.findall(text))
    if not _OF_PYTHON.isdisjoint(tokens) or _COALESCE in text:
        return None
    try:
        tree = ast.parse(_translated(tokens), mode="eval").body
        trial = _value(tree, _Trial(dict.fromkeys(names, 1.0), nil=None))
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError, ArithmeticError):
        return None
    if tokens or isinstance(trial, bool):
        return None

    def formula(values: Mapping[str, float | None]) -> float | None:
        try:
            value = _value(tree, {"nil": None, **values})
        except ArithmeticError:
            return 0.0
        except TypeError:  # a `nil` beside an operator or in a function
            return math.nan
        return None if value is None else milli(value) / 1000

    return formula


def _translated(tokens: deque[str]) -> str:
    """Return the tokens up to the end of an expression in Python's words: `(b if a > 5 else c)` for `a > 5 ? b : c`."""
    text = ""
    while tokens and tokens[0] not in {",", ")", "]", ":"}:
        word = tokens.popleft()
        if word == "?":
            chosen = _translated(tokens)
            if not tokens or tokens.popleft() != ":":
                raise SyntaxError("a choice without its other half")
            return f"(({chosen}) if ({text}) else ({_translated(tokens)}))"
        text += _PYTHON.get(word, word)
        if word in {"(", "["}:
            while tokens and tokens[0] not in {")", "]"}:
                text += _translated(tokens)
                if tokens and tokens[0] in {",", ":"}:
                    text += tokens.popleft()
            text += tokens.popleft() if tokens else ""
    return text.strip()


def unknown_names(text: str, names: Collection[str]) -> list[str]:
    """Return the words of `text` that are neither `names` nor functions nor words of the language.

    Nothing is looked for in a formula with texts, closures or variables of its own.
    """
    text = re.sub(r"(?<![\w])(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", "0", text)
    if re.search(r"[\"'`#{}.;]", text):
        return []
    words = re.findall(r"[A-Za-z_]\w*\b(?!\s*\()", text)
    return [word for word in dict.fromkeys(words) if word not in names and word not in _WORDS]


def _value(node: ast.expr, values: Mapping[str, float | None]) -> Any:
    """Evaluate `node`; raises `KeyError` for an unknown name or function, `ValueError` for anything else unknown."""
    match node:
        case ast.Constant() | ast.Name():
            return _leaf(node, values)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.IfExp():
            return _choice(node, values)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if arguments:
            return _called(name, arguments, values)
        case _:
            return _truth(node, values)


def _leaf(node: ast.Constant | ast.Name, values: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("a truth value")
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
    raise ValueError("neither a number nor a name")


def _choice(node: ast.IfExp, values: Mapping[str, float | None]) -> Any:
    chosen, other = (node.body, node.orelse) if _truth(node.test, values) else (node.orelse, node.body)
    value = _value(chosen, values)
    if isinstance(values, _Trial) and isinstance(_value(other, values), bool) != isinstance(value, bool):
        raise ValueError("a choice of a number and a condition")
    return value


def _called(name: str, arguments: list[ast.expr], values: Mapping[str, float | None]) -> float:
    match arguments:
        case [ast.List(elts=items)] if items:
            return float(_OF_A_LIST[name]([_value(item, values) for item in items]))
        case _:
            return _of_numbers(name, [_value(argument, values) for argument in arguments])


def _truth(node: ast.expr, values: Mapping[str, float | None]) -> bool:
    """Evaluate a condition; raises as `_value`, also for a number, which is none here."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            return bool(_COMPARISONS[type(op)](_value(left, values), _value(right, values)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(operand, values)
        case ast.BoolOp(op=op, values=parts):
            truths: Iterable[bool] = (_truth(part, values) for part in parts)
            truths = list(truths) if isinstance(values, _Trial) else truths
            return all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.IfExp() if isinstance(found := _choice(node, values), bool):
            return found
        case _:
            raise ValueError("neither a condition nor anything else that is known")


def _of_numbers(name: str, arguments: list[Any]) -> float:
    if (name in {"max", "min"}) == (len(arguments) == 1):
        raise ValueError("the wrong number of arguments")
    return float(_OF_NUMBERS[name](*arguments))
