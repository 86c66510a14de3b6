import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.keda.formula import compiled, unknown_names

VALUES = {"a": 12.0, "b": 3.0, "zero": 0.0, "gone": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 12),
        ("a + 10 * b", 42),
        ("(a + b) / 2", 7.5),
        ("a / b - 1", 3),
        ("-b + 5", 2),
        ("max(a, b, 20)", 20),
        ("min([a, b])", 3),
        ("sum([a, b, 0.5])", 15.5),
        ("mean([a, b])", 7.5),
        ("median([a, b, 4])", 4),
        ("ceil(a / 7) + floor(b / 2) + abs(-1)", 4),
        ("a / 7", 1.714),  # in thousandths
        ("b - a", 0),  # the HPA reads nothing below 0
        ("a / zero", 0),
        ("zero / zero", 0),
        ("ceil(a / zero)", 0),
        ("  a\n", 12),
        ("a ?? b", 12),
        ("gone ?? b", 3),
        ("gone ?? gone ?? 8", 8),
        ("2 * gone ?? b + 1", 7),  # binds tighter than the others
        ("10 - gone ?? b", 7),
        ("max(gone ?? b, 2)", 3),
        ("a > 5 ? b : 0", 3),
        ("a <= 5 ? b : zero > 0 ? 1 : 7", 7),
        ("max(a > 5 ? 2 * b : 0, 1) + 1", 7),
        ("(a > 5 && b > 5 || !(zero != 0)) ? a : b", 12),
        ("sum([a > 5 ? 1 : 0, b > 5 ? 1 : 0])", 1),
        ("gone == nil ? 9 : gone + 1", 9),
        ("gone != nil && gone > 3 ? 1 : 2", 2),
        ("a>5?b:0", 3),
        ("gone", None),
        ("gone ?? gone", None),
    ],
)
def test_arithmetic(text: str, value: float | None) -> None:
    formula = compiled(text, VALUES)
    assert formula is not None
    assert formula(VALUES) == value


@pytest.mark.parametrize("text", ["gone + 1", "-gone", "max(gone, 1)", "sum([gone])", "abs(gone)", "2 * gone"])
def test_keda_cannot_calculate_with_a_trigger_that_failed_too_often(text: str) -> None:
    formula = compiled(text, VALUES)
    assert formula is not None
    assert math.isnan(formula(VALUES) or 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a > 5",
        "a > 5 ? true : false",
        "a > 5 ? b",
        "a > 5 ? b > 1 : 0",
        "a > 5 ? unknown : 0",
        "a > 500 ? 0 : unknown",
        "a ? b : 0",
        "1 < a < 20 ? 1 : 0",
        "a > 5 ? b : 0)",
        "a : b",
        "a > 5 ? 1 : a % 2",
        "count([a, b], {# > 1})",
        "a % b",
        "a ** b",
        "unknown + 1",
        "true ? 1 : 2",
        "[a, b][0]",
        "1 if a > 5 else 2",
        "not a",
        "True",
        "a.b",
        "a[0]",
        "'a'",
        "max()",
        "max(a)",
        "abs(a, b)",
        "sum(a, b)",
        "sum([])",
        "eval(a)",
        "__import__('os')",
        "(" * 500 + "a" + ")" * 500,
    ],
)
def test_what_is_more_than_arithmetic_is_not_worked_out(text: str) -> None:
    assert compiled(text, VALUES) is None


@given(st.text(alphabet="ab+-*/(),.0123456789 maxinsu[]?:<>=!&|", max_size=30), st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_formula_is_worked_out_or_not_but_never_fails(text: str, a: float, b: float) -> None:
    formula = compiled(text, {"a", "b"})
    if formula is not None:
        assert (formula({"a": a, "b": b}) or 0) >= 0


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a + b * 1.5e3", []),
        ("a > 5 ? b : c", ["c"]),
        ("count([a, d], {# > 1})", []),  # closures are not looked into
        ("max(a, e) + e ?? 2", ["e"]),
        ("not (a in [1, 2]) ? nil : f1", ["f1"]),
        ("a.b", []),
    ],
)
def test_names_that_no_trigger_has(text: str, unknown: list[str]) -> None:
    assert unknown_names(text, {"a", "b"}) == unknown
