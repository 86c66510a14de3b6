import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scaler.sources.names import MAX_LENGTH, metric_name

PART = st.text(max_size=80) | st.text("ab-_A", max_size=4)
PARTS = st.lists(PART, min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        pytest.param(("sqs", "orders"), "sqs-orders", id="nothing is lost"),
        pytest.param(("sidekiq-busy", "a-b"), "sidekiq-busy-a-b", id="hyphens and digits stay"),
        pytest.param(("sqs", "a", "b1"), "sqs-a-b1", id="several parts"),
        pytest.param(("x" * MAX_LENGTH,), "x" * MAX_LENGTH, id="as long as it may be"),
    ],
)
def test_a_name_that_fits_is_left_alone(parts: tuple[str, ...], name: str) -> None:
    assert metric_name(*parts) == name


@pytest.mark.parametrize(
    ("parts", "pattern"),
    [
        pytest.param(("sqs", "Orders"), "sqs-orders-[0-9a-f]{8}", id="case"),
        pytest.param(("workqueue", "app_queue"), "workqueue-app-queue-[0-9a-f]{8}", id="underscore"),
        pytest.param(("sqs", "a..b--c."), "sqs-a-b-c-[0-9a-f]{8}", id="runs collapse"),
        pytest.param(("sqs", ""), "sqs-[0-9a-f]{8}", id="an empty part"),
        pytest.param(("キュー",), "[0-9a-f]{8}", id="nothing is left"),
        pytest.param(("q" * 80,), "q{50}-[0-9a-f]{8}", id="too long"),
    ],
)
def test_a_name_that_loses_something_ends_in_a_hash(parts: tuple[str, ...], pattern: str) -> None:
    assert re.fullmatch(pattern, metric_name(*parts))


def test_a_name_never_changes() -> None:
    assert metric_name("sqs", "Orders_Main") == "sqs-orders-main-5a598362"


@given(PARTS)
def test_every_name_is_one_that_the_hpa_accepts(parts: list[str]) -> None:
    name = metric_name(*parts)
    assert re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= MAX_LENGTH


@given(PARTS, PARTS)
def test_different_things_have_different_names(one: list[str], other: list[str]) -> None:
    assume("-".join(one) != "-".join(other))
    assert metric_name(*one) != metric_name(*other)
