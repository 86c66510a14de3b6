"""The formula of `scalingModifiers`, if it is plain arithmetic; KEDA's language (expr-lang.org) has more."""

import ast
import math
import operator
import re
import statistics
from collections.abc import Callable, Collection, Mapping
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


def compiled(text: str, names: Collection[str]) -> Formula | None:
    """Return a function of the values by trigger name, or None if `text` is more than arithmetic over `names`.

    Supported are `+ - * /`, `??`, brackets, abs, ceil, floor, and max, min, mean, median and sum of numbers or a list.
    The result is what the HPA gets: in thousandths, and 0 for a negative or undefined number (KEDA
    pkg/scaling/modifiers/formula.go). It is None for `nil`, and NaN where KEDA fails because of a `nil`.
    """
    if _COALESCE in text:
        return None
    try:
        tree = ast.parse(text.strip().replace("??", _COALESCE), mode="eval").body
        _value(tree, dict.fromkeys(names, 1.0))
    except (SyntaxError, ValueError, KeyError, RecursionError, ArithmeticError):
        return None

    def formula(values: Mapping[str, float | None]) -> float | None:
        try:
            value = _value(tree, values)
        except ArithmeticError:
            return 0.0
        except TypeError:  # a `nil` beside an operator or in a function
            return math.nan
        return None if value is None else milli(value) / 1000

    return formula


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
        case ast.Constant(value=bool()):
            raise ValueError("a truth value")
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=[ast.List(elts=items)], keywords=[]) if items:
            return float(_OF_A_LIST[name]([_value(item, values) for item in items]))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if arguments:
            return _of_numbers(name, [_value(argument, values) for argument in arguments])
        case _:
            raise ValueError("more than arithmetic")


def _of_numbers(name: str, arguments: list[Any]) -> float:
    if (name in {"max", "min"}) == (len(arguments) == 1):
        raise ValueError("the wrong number of arguments")
    return float(_OF_NUMBERS[name](*arguments))
