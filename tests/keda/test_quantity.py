import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.keda.quantity import milli, parse_quantity


@pytest.mark.parametrize(
    ("value", "thousandths"),
    [
        (0.0, 0),
        (5, 5000),
        (0.0004, 0),
        (0.0005, 1),  # a little above a half in binary
        (0.0015, 2),
        (1.0004, 1000),
        (1.0006, 1001),
        (8.999, 8999),
        (-3.0, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (float("-inf"), 0),
        (9.2e15, 9_200_000_000_000_000_000),
        (9.3e15, 0),
        (1e16, 0),
        (1e19, 0),
    ],
)
def test_what_the_hpa_reads(value: float, thousandths: int) -> None:
    assert milli(value) == thousandths


@given(st.floats(min_value=0, max_value=1e12), st.floats(min_value=0, max_value=1e12))
def test_rounding_keeps_the_order_and_is_at_most_half_a_thousandth_off(a: float, b: float) -> None:
    assert (milli(a) <= milli(b)) is (a <= b) or milli(a) == milli(b)
    assert abs(milli(a) - a * 1000) <= 0.5 + a * 1e-12


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0.1", 0.1),
        ("100m", 0.1),
        (".5", 0.5),
        ("2k", 2000),
        ("+1e-1", 0.1),
        ("1.5M", 1_500_000),
        ("5u", 5e-6),
    ],
)
def test_quantities(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ten", "10 %", "1,5", "1Ki", "m", "0x10", "nan", "1e"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="must be a quantity"):
        parse_quantity(text)
