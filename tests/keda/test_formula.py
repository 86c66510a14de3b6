import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.keda.formula import FormulaError, MistakeError, compiled, mistakes

VALUES = {"a": 12.0, "b": 3.0, "zero": 0.0, "gone": None, "fine": 1 / 3}


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
        ("2 / b", 0.666),  # the rest is cut off: KEDA converts to a whole number, as Go does
        ("1.001 + zero", 1),  # of 1000.9999999999999
        ("1e16 + a", 0),
        ("fine", 0.333),  # KEDA has it in thousandths
        ("fine * 3", 0.999),
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
        ("(gone ?? b) + 1", 4),
        ("a > 5 ? 1 : nil", 1),
        ("1 < a < 20 ? 1 : 0", 1),
        ("1 < a < 5 ? 1 : 0", 0),
        ("a ** 2", 144),
        ("a ^ 2 ^ 0.5", 33.588),
        ("10 - -2 ** 2", 14),  # a sign binds less than a power
        ("(0 - a) ** 0.5", 0),
        ("zero ** -1", 0),
        ("10 ** 400", 0),
        ("int(a) % 5", 2),
        ("-7 % 3 + 10", 9),  # the sign is that of what is divided
        ("7 % -3", 1),
        ("int(b) % 2 == 1 ? a : b", 12),
        ("float(int(a / 7)) / 2", 0.5),
        ("round(a / 8)", 2),
        ("round(-2.5) + 10", 7),
        ("round(2.4)", 2),
        ("max(a)", 12),
        ("max(7, 5) % 4", 3),
        ("max(a, [b, 20])", 20),
        ("min([a, [b, 20]])", 3),
        ("median(a, b)", 7.5),
        ("sum([])", 0),
        ("mean([])", 0),
        ("max([])", None),
        ("count([a, b, zero], {# > 1}) > 1 ? 5 : 0", 5),
        ("count([a > 5, b > 5])", 1),
        ("sum([a, b], # * 2)", 30),
        ("sum(map([a, b], {let double = # * 2; double + 1}))", 32),
        ("[a, b, zero] | filter(# > 1) | len()", 2),
        ("a + 1 | max(20)", 20),
        ("[a, b] | count(# > 5)", 1),
        ("any([a, b], # > 5) and not all([a, b], # > 5) ? 1 : 0", 1),
        ("none([a, b], # > 50) && one([a, b], # > 5) ? 1 : 0", 1),
        ("find([a, b], # < 5)", 3),
        ("find([a, b], # > 50)", None),
        ("find([a, b], # > 50) ?? 7", 7),
        ("reduce([a, b], #acc + # * #index)", 15),
        ("reduce([a, b], #acc + # * #index, 1)", 4),
        ("first([a, b]) - last([a, b])", 9),
        ("[a, b][-1] + [a, b][int(b) - 3]", 15),
        ("a in [1, 12] ? 1 : 0", 1),
        ("a not in [1, 12] ? 1 : 0", 0),
        ("let x = a * 2; let y = b; x + y", 27),
        ("(let x = a; x + 1) * 2", 26),
        ("0x10 + 0b11 + 1_000 + 1e1 + .5", 1029.5),
        ("a /* twelve */ + 1 // one more", 13),
        ("max(1, 2,)", 2),
        ("[a] == [12] ? 1 : 0", 1),
    ],
)
def test_arithmetic(text: str, value: float | None) -> None:
    formula = compiled(text, VALUES)
    assert formula is not None
    assert formula(VALUES) == value


@pytest.mark.parametrize(
    "text",
    [
        "gone + 1",
        "-gone",
        "max(gone, 1)",
        "sum([gone])",
        "abs(gone)",
        "2 * gone",
        "gone > 1 ? 1 : 2",
        "[a][int(b)]",
        "5 % int(zero)",
        "reduce(filter([a], # > 50), #acc)",
        "int(a / zero)",
        "a > 5 ? b > 1 : 0",
    ],
)
def test_some_values_leave_a_formula_without_one(text: str) -> None:
    formula = compiled(text, VALUES)
    assert formula is not None
    assert math.isnan(formula(VALUES) or 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a > 5", "it gives a condition, where KEDA needs a number"),
        ("a > 5 ? true : false", "it gives a condition"),
        ("[a, b]", "it gives a list"),
        ("a ? b : 0", "`?` needs a condition and gets a number"),
        ("a % 2", "`%` needs whole numbers, and values of triggers are none: write int(…) around them"),
        ("a > 5 ? 1 : a % 2", "`%` needs whole numbers"),
        ("ceil(a) % 2", "`%` needs whole numbers"),
        ("max(a, 100) % 7", "`%` needs whole numbers"),
        ("[a, b][a]", "`[]` needs whole numbers"),
        ("not a", "`not` needs a condition"),
        ("!a > 5 ? 1 : 2", "`!` needs a condition"),  # it binds tighter than a comparison
        ("a > 5 || b ? 1 : 2", "`or` needs a condition"),
        ("a == true ? 1 : 2", "`==` compares a number with a condition"),
        ("a[0]", "`[]` needs a list and gets a number"),
        ("sum(a, b)", "`sum` needs a list"),
        ("max()", "`max` does not take 0 values"),
        ("abs(a, b)", "`abs` does not take 2 values"),
        ("let a = 5; a", "`let a`: there is something of that name already"),
        ("let max = 5; max", "`max` cannot be a name"),
    ],
)
def test_what_keda_cannot_work_out_either(text: str, why: str) -> None:
    with pytest.raises(MistakeError, match=f"^{re.escape(why)}"):
        compiled(text, VALUES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it ends too early"),
        ("a > 5 ? b", "it ends too early"),
        ("let", "`` cannot be a name"),
        ("a |", "it ends too early"),
        ("a > 5 ? unknown : 0", "no trigger has the name unknown"),
        ("a > 500 ? 0 : unknown", "no trigger has the name unknown"),
        ("true or unknown > 1 ? 1 : 2", "no trigger has the name unknown"),
        ("True", "no trigger has the name True"),
        ("a ?? b + 1", "`+` and `??` need brackets to stand side by side"),
        ("a > 5 ? b : 0)", "`)` is not understood"),
        ("a : b", "`:` is not understood"),
        ("1 if a > 5 else 2", "`if` is not understood"),
        ("if a > 5 { 1 } else { 2 }", "`if` is not understood"),
        ("sum(1..3)", "`..` is not understood"),
        ("# + 1", "`#` is not understood"),
        ("a.b", "`.` is not understood"),
        ("a?.b", "`?.` is not understood"),
        ("'a'", "`'` is not understood"),
        ("{x: a}.x", "`{` is not understood"),
        ("a b", "`b` is not understood"),
        ("filter([a, b])", "`filter` needs a predicate"),
        ("eval(a)", "the function `eval` is not known here"),
        ("now()", "the function `now` is not known here"),
        ("__import__('os')", "the function `__import__` is not known here"),
        ("(" * 350 + "a", "its brackets are nested too deeply"),
        ("a" + " + a" * 300, "it has more than 400 words and signs"),
    ],
)
def test_what_is_not_known_here_is_named(text: str, why: str) -> None:
    with pytest.raises(FormulaError, match=f"^{re.escape(why)}") as refused:
        compiled(text, VALUES)
    assert not isinstance(refused.value, MistakeError) or text == "let"


@given(
    st.text(alphabet="ab+-*/%^(),.0123456789 maxinsuletcd[]{}#?:<>=!&|;", max_size=30),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
)
def test_a_formula_is_worked_out_or_refused_but_never_fails(text: str, a: float, b: float) -> None:
    try:
        value = compiled(text, {"a", "b"})({"a": a, "b": b})
    except FormulaError:
        return
    assert value is None or math.isnan(value) or value >= 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a + b * 1.5e3 + 0x1f", []),
        ("a > 5 ? b : c", ["no trigger has the name c"]),
        ("count([a, d], {# > 1})", ["no trigger has the name d"]),
        ("max(a, e) + (e ?? 2)", ["no trigger has the name e"]),
        ("not (a in [1, 2]) ? nil : f1", ["no trigger has the name f1"]),
        ("let c = a; c + my - queue", [f"no trigger has the name {word}; in a formula a name must have no dash" for word in ("my", "queue")]),
        ("a % 2", ["KEDA cannot work it out: `%` needs whole numbers, and values of triggers are none: write int(…) around them"]),
        ("a.b", []),  # what is not understood may be right
    ],
)  # fmt: skip
def test_mistakes(text: str, found: list[str]) -> None:
    assert mistakes(text, {"a", "b", "my-queue"}) == found


def _lists(last: str) -> str:
    """Return a formula with ever deeper lists, each with the one before twice."""
    return "let x0=[1];" + "".join(f"let x{n}=[x{n - 1},x{n - 1}];" for n in range(1, 30)) + last


ITEMS = f"[{','.join('1' * 55)}]"
BOMBS = {
    "lists of lists": _lists("max(x29)"),
    "lists that reduce makes": f"max(reduce({ITEMS}, [#acc, #acc]))",
    "predicates in predicates": f"len(map({ITEMS}, len(map({ITEMS}, len(map({ITEMS}, a))))))",
    "slashes": "/" * 60 + "\n)",
    "comments": "a " + "/**/" * 40 + ")",
    "blanks": " " * 60_000 + "a",
    "comments without an end": "/*" * 20_000,
    "a long word": "b" * 1_000,
    "digits": "9" * 1_900,
    "a hexadecimal number without digits": "0x_",
    "too large a number": "9223372036854775808",
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once_and_in_few_words(name: str) -> None:
    with pytest.raises(FormulaError) as refused:
        compiled(BOMBS[name], {"a"})
    assert len(str(refused.value)) < 300
    assert all(len(mistake) < 300 for mistake in mistakes(BOMBS[name], {"a"}))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9223372036854775807 + 1 < 0 ? 1 : 2", 1),  # whole numbers have 64 bits, as in Go
        (f"reduce({ITEMS}, #acc * 3) < 9223372036854775807 ? 1 : 2", 1),
        (f"sum(map({ITEMS}, sum(map({ITEMS}, #))))", 55 * 55),
    ],
)
def test_what_looks_like_a_bomb_is_worked_out(text: str, value: float) -> None:
    assert compiled(text, ())({}) == value
