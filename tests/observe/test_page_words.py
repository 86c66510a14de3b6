"""Numbers, durations and sparklines as people see them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.observe.page.words import HEIGHT, NOTHING, WIDTH, dollars, duration, latency, number, sparkline


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, NOTHING),
        (0.4, "under 1 s"),
        (59.9, "59 s"),
        (125, "2 min"),
        (7_199, "119 min"),
        (7_260, "2 h 1 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (0, "0"), (100, "100"), (2.5, "2.5"), (1_234_567, "1,234,567"), (0.004, "0.004"), (-1, "-1")],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_latency_and_dollars() -> None:
    assert [latency(value) for value in (None, 0.0042, 0.42, 4.2)] == [NOTHING, "4.2 ms", "420 ms", "4.2 s"]
    assert [dollars(value) for value in (None, 0.1234, 1234.5)] == [NOTHING, "$0.12", "$1,234.50"]


def test_a_gap_lifts_the_pen_and_the_target_is_on_the_same_scale() -> None:
    line = sparkline([0, 10, None, 5], target=5)
    assert line is not None
    assert line.path == "M0 26h0L40 2M120 14h0"
    assert line.target_y == 14
    assert line.text == "last 5, lowest 0, highest 10, target 5"
    assert sparkline([None, None], target=5) is None


@given(values=st.lists(st.none() | st.floats(0, 1e12), max_size=120), target=st.floats(0.001, 1e12))
def test_a_line_stays_in_its_box(values: list[float | None], target: float) -> None:
    line = sparkline(values, target)
    if line is None:
        assert all(value is None for value in values)
        return
    points = re.findall(r"[ML](\S+) ([0-9.e+-]+)", line.path)
    assert len(points) == sum(value is not None for value in values)
    assert all(0 <= float(x) <= WIDTH + 0.1 and 0 <= float(y) <= HEIGHT for x, y in points)
