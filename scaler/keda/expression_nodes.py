"""The parts of a parsed formula as functions of the variables."""

import inspect
from collections.abc import Callable, Mapping

from scaler.keda.expression_values import (
    BINARY,
    FUNCTIONS,
    PREDICATES,
    FormulaError,
    MistakeError,
    Value,
    shallow,
    truth,
    wrapped,
)

Variables = Mapping[str, Value]
Node = Callable[[Variables], Value]
"""Evaluates a part of the formula; raises `TypeError` where expr does, and `ArithmeticError` or `LookupError`."""

TRIAL = "$trial"
"""With this variable set, both halves of every choice are evaluated, which shows whether all of them can be."""

_CHOICES: dict[str, Callable[[Value], bool]] = {
    "and": lambda left: not truth(left, "and"),
    "or": lambda left: truth(left, "or"),
    "??": lambda left: left is not None,
}
"""Whether the left side decides, so that expr does not look at the right one."""


def number_of(text: str) -> float:
    """Return a number as it is written in a formula, an `int` for a whole one; raises `MistakeError`."""
    text = text.lower().replace("_", "")
    try:
        found = int(text, 0) if text[:2] in {"0x", "0b", "0o"} else int(text) if text.isdigit() else float(text)
    except ValueError:
        raise MistakeError(f"`{text}` is no number") from None
    if isinstance(found, int) and found != wrapped(found):
        raise MistakeError(f"`{text}` is too large for a whole number")
    return found


def constant(value: Value) -> Node:
    """Return `value`, whatever the variables."""
    return lambda _: value


def variable(name: str) -> Node:
    """Return the variable `name`; raises `FormulaError` if there is none."""

    def found(variables: Variables) -> Value:
        if name not in variables:
            raise FormulaError(f"no trigger has the name {name}")
        return variables[name]

    return found


def named(name: str, value: Node, rest: Node) -> Node:
    """Return `let name = value; rest`."""

    def with_it(variables: Variables) -> Value:
        if name in variables:
            raise TypeError(f"`let {name}`: there is something of that name already")
        return rest({**variables, name: value(variables)})

    return with_it


def negated(operand: Node) -> Node:
    """Return `not operand`."""
    return lambda variables: not truth(operand(variables), "not")


def listed(items: list[Node]) -> Node:
    """Return a list."""
    return lambda variables: shallow([each(variables) for each in items])


def called(name: str, arguments: list[Node]) -> Node:
    """Return what function `name` makes of `arguments`; raises `MistakeError` for a wrong number of them."""
    try:
        inspect.signature(FUNCTIONS[name]).bind(*arguments)
    except TypeError:
        raise MistakeError(f"`{name}` does not take {len(arguments)} values") from None
    return lambda variables: FUNCTIONS[name](*(each(variables) for each in arguments))


def binary(sign: str, left: Node, right: Node) -> Node:
    """Return `left sign right`."""
    decides = _CHOICES.get(sign)
    if decides is None:
        return lambda variables: BINARY[sign](left(variables), right(variables))

    def decided_by_left(variables: Variables) -> Value:
        value = left(variables)
        decided = decides(value)
        other = right(variables) if TRIAL in variables or not decided else None
        if sign != "??" and (TRIAL in variables or not decided):
            truth(other, sign)
        return value if decided else other

    return decided_by_left


def choice(condition: Node, chosen: Node, other: Node) -> Node:
    """Return `condition ? chosen : other`."""

    def chosen_now(variables: Variables) -> Value:
        holds = truth(condition(variables), "?")
        if TRIAL in variables:
            (other if holds else chosen)(variables)
        return (chosen if holds else other)(variables)

    return chosen_now


def over(name: str, items: Node, predicate: Node, initial: Node | None) -> Node:
    """Return function `name` over `items`, each of which is `#` in the predicate."""

    def over_all(variables: Variables) -> Value:
        def of(index: int, each: Value, so_far: Value = None) -> Value:
            return predicate({**variables, "#": each, "#index": index, "#acc": so_far})

        start = () if initial is None else (initial(variables),)
        return PREDICATES[name](items(variables), of, *start)

    return over_all
