"""The operators and functions of a formula: whole numbers, numbers, truth values, lists and `nil` as expr has them."""

import math
import statistics
from collections.abc import Callable
from typing import TypeAlias, cast

Value: TypeAlias = "float | bool | list[Value] | None"
"""A whole number (`int`) is kept apart from other numbers, because `%` and an index take nothing else."""

_Of = Callable[..., Value]


class FormulaError(ValueError):
    """A formula, or a part of it, cannot be worked out; the message says which."""


class MistakeError(FormulaError):
    """KEDA cannot work the formula out either; the message says why."""


class NilError(TypeError):
    """There is `nil` where a value is needed, which depends on the values of the triggers."""


def number(value: Value, of: str) -> float:
    """Return `value` if it is a number; raises `TypeError`, which names the operator or function `of`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, of, "numbers")
    return value


def whole(value: Value, of: str) -> int:
    """Return `value` if it is a whole number by its type; raises `TypeError`."""
    if not isinstance(number(value, of), int):
        raise TypeError(f"`{of}` needs whole numbers, and values of triggers are none: write int(…) around them")
    return cast("int", value)


def truth(value: Value, of: str) -> bool:
    """Return `value` if it is a truth value; raises `TypeError`."""
    if not isinstance(value, bool):
        raise _wrong(value, of, "a condition")
    return value


def _equal(left: Value, right: Value) -> bool:
    """Compare two values of one kind, or anything with `nil`."""
    if left is not None and right is not None and kind(left) != kind(right):
        raise TypeError(f"`==` compares {kind(left)} with {kind(right)}")
    return left == right


def _item(values: Value, index: Value) -> Value:
    """Return item `index`, from the end if it is negative; raises `IndexError`."""
    return _list(values, "[]")[whole(index, "[]")]


def _wrong(value: Value, of: str, needed: str) -> TypeError:
    error = NilError if value is None else TypeError
    return error(f"`{of}` needs {needed} and gets {kind(value)}")


def kind(value: Value) -> str:
    """Return what `value` is, for a message."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "a condition"
    return "a list" if isinstance(value, list) else "a number"


def _list(values: Value, of: str) -> list[Value]:
    if not isinstance(values, list):
        raise _wrong(values, of, "a list")
    return values


def shallow(values: list[Value]) -> list[Value]:
    """Return `values`; raises `FormulaError` for lists in lists in a list: a few words can make billions of items so."""
    if any(isinstance(inner, list) for each in values if isinstance(each, list) for inner in each):
        raise FormulaError("lists in lists in a list are not known here")
    return values


def wrapped(value: float) -> float:
    """Return a whole number as Go keeps it, in 64 bits, and anything else as it is."""
    return (value + 2**63) % 2**64 - 2**63 if isinstance(value, int) and not isinstance(value, bool) else value


def _numbers(of: str, *values: Value) -> list[float]:
    """Return the numbers in `values`, lists within them included."""
    found: list[float] = []
    for value in values:
        found += _numbers(of, *value) if isinstance(value, list) else [number(value, of)]
    return found


def _arithmetic(of: str, function: Callable[[float, float], float]) -> _Of:
    return lambda left, right: wrapped(function(number(left, of), number(right, of)))


def _divided(above: float, below: float) -> float:
    return above / below if below else math.inf * above  # 0 / 0 is NaN


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:  # 0 ** -1 is infinite, the root of a negative number is none
        return math.nan if base else math.inf


def _remainder(left: Value, right: Value) -> int:
    above, below = whole(left, "%"), whole(right, "%")
    return int(math.copysign(abs(above) % abs(below), above))


def _contains(value: Value, values: Value) -> bool:
    return any(_equal(value, each) for each in _list(values, "in"))


BINARY: dict[str, _Of] = {
    "+": _arithmetic("+", lambda left, right: left + right),
    "-": _arithmetic("-", lambda left, right: left - right),
    "*": _arithmetic("*", lambda left, right: left * right),
    "/": _arithmetic("/", _divided),
    "**": _arithmetic("**", _power),
    "%": _remainder,
    "<": _arithmetic("<", lambda left, right: left < right),
    ">": _arithmetic(">", lambda left, right: left > right),
    "<=": _arithmetic("<=", lambda left, right: left <= right),
    ">=": _arithmetic(">=", lambda left, right: left >= right),
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "in": _contains,
    "[]": _item,
}


def _rounded(of: str, function: Callable[[float], float]) -> _Of:
    def rounded(value: Value) -> float:
        given = number(value, of)
        return float(function(given)) if math.isfinite(given) else given

    return rounded


def _half_away(value: float) -> float:
    below = math.floor(abs(value))
    return math.copysign(below + (abs(value) - below >= 0.5), value)


def _most(of: str, best: Callable[[list[float]], float]) -> _Of:
    def most(first: Value, *others: Value) -> Value:
        found = _numbers(of, first, *others)
        if not found:
            return None
        return best(found) if all(isinstance(each, int) for each in found) else float(best(found))

    return most


def _average(of: str, average: Callable[[list[float]], float]) -> _Of:
    def averaged(first: Value, *others: Value) -> float:
        found = _numbers(of, first, *others)
        return float(average(found)) if found else 0.0

    return averaged


def _end(of: str, index: int) -> _Of:
    return lambda values: found[index] if (found := _list(values, of)) else None


FUNCTIONS: dict[str, _Of] = {
    "abs": lambda value: abs(number(value, "abs")),
    "ceil": _rounded("ceil", math.ceil),
    "floor": _rounded("floor", math.floor),
    "round": _rounded("round", _half_away),
    "int": lambda value: int(number(value, "int")),
    "float": lambda value: float(number(value, "float")),
    "max": _most("max", max),
    "min": _most("min", min),
    "mean": _average("mean", statistics.fmean),
    "median": _average("median", statistics.median),
    "sum": lambda values: wrapped(sum(number(each, "sum") for each in _list(values, "sum"))),
    "count": lambda values: sum(truth(each, "count") for each in _list(values, "count")),
    "len": lambda values: len(_list(values, "len")),
    "first": _end("first", 0),
    "last": _end("last", -1),
}


def _each(name: str, function: Callable[[list[Value], list[Value]], Value]) -> _Of:
    """Return `function` of a list's items and of what the predicate says of each."""

    def over(values: Value, of: _Of) -> Value:
        found = _list(values, name)
        return function(found, [of(index, each) for index, each in enumerate(found)])

    return over


def _where(name: str, function: Callable[[list[Value]], Value]) -> _Of:
    """Return `function` of the items for which the predicate holds."""
    return _each(
        name,
        lambda values, held: function([each for each, holds in zip(values, held, strict=True) if truth(holds, name)]),
    )


def _reduced(values: Value, of: _Of, *initial: Value) -> Value:
    found = _list(values, "reduce")
    so_far = (*initial, *found)[0]  # an IndexError for an empty list
    for index in range(1 - len(initial), len(found)):
        so_far = of(index, found[index], so_far)
    return so_far


PREDICATES: dict[str, _Of] = {
    "all": _each("all", lambda _, held: all(truth(each, "all") for each in held)),
    "any": _each("any", lambda _, held: any(truth(each, "any") for each in held)),
    "none": _where("none", lambda found: not found),
    "one": _where("one", lambda found: len(found) == 1),
    "count": _where("count", len),
    "filter": _where("filter", lambda found: found),
    "find": _where("find", lambda found: found[0] if found else None),
    "map": _each("map", lambda _, mapped: shallow(mapped)),
    "sum": _each("sum", lambda _, mapped: wrapped(sum(number(each, "sum") for each in mapped))),
    "reduce": _reduced,
}
