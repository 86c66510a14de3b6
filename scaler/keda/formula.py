"""The formula of `scalingModifiers` as a function of the triggers' values."""

import math
from collections.abc import Callable, Collection, Mapping

from scaler.keda.expression import parse
from scaler.keda.expression_nodes import TRIAL
from scaler.keda.expression_values import FormulaError, MistakeError, NilError, Value, kind
from scaler.keda.quantity import milli

__all__ = ["Formula", "FormulaError", "MistakeError", "compiled", "mistakes"]

Formula = Callable[[Mapping[str, float | None]], float | None]
"""The value by those of the triggers, where None is expr's `nil`: a trigger that failed too often. NaN is no value."""


def compiled(text: str, names: Collection[str]) -> Formula:
    """Return a function of the values by trigger name; raises `FormulaError` if it is not known what `text` is worth.

    The values are rounded to thousandths, as KEDA has them. The result is what the HPA gets: whole thousandths, the rest
    cut off, and 0 for a negative or undefined number (KEDA pkg/scaling/modifiers/formula.go,
    calculateScalingModifiersFormula). It is None for `nil`, and NaN where KEDA fails, as it does because of a `nil`.
    """
    node = parse(text).node
    try:
        _result(node({**dict.fromkeys(names, 1.0), TRIAL: True}))
    except (ArithmeticError, LookupError, NilError):
        pass  # by the values of the trial
    except TypeError as error:
        raise MistakeError(str(error)) from None
    except RecursionError:
        raise FormulaError("it is too long") from None

    def formula(values: Mapping[str, float | None]) -> float | None:
        try:
            return _result(
                node({name: None if value is None else milli(value) / 1000 for name, value in values.items()})
            )
        except (TypeError, ArithmeticError, LookupError):
            return math.nan

    return formula


def _result(value: Value) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool | list):
        raise TypeError(f"it gives {kind(value)}, where KEDA needs a number")
    thousandths = value * 1000
    return int(thousandths) / 1000 if 0 < thousandths < 2**63 else 0.0


def mistakes(text: str, names: Collection[str]) -> list[str]:
    """Return why KEDA cannot work `text` out, as far as it is known here: variables that are not `names`, wrong kinds."""
    try:
        unknown = parse(text).names.difference(names)
        if not unknown:
            compiled(text, names)
    except MistakeError as error:
        return [f"KEDA cannot work it out: {error}"]
    except FormulaError:
        return []
    dashed = {part for name in names if "-" in name for part in name.split("-")}
    return [
        f"no trigger has the name {word}" + ("; in a formula a name must have no dash" if word in dashed else "")
        for word in sorted(unknown)
    ]
