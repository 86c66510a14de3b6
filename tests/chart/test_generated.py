"""What is generated from the models is what the models say now."""

from pathlib import Path

import pytest

from tools.__main__ import GENERATED, ROOT

SIMULATED = {"docs/simulate.md", "docs/tuning.md"}
"""And the pictures beside them: worked examples that simulate days, a dozen times over."""


def files() -> list[object]:
    return [
        pytest.param(name, marks=pytest.mark.slow if name in SIMULATED or "/images/" in name else ())
        for name in GENERATED
    ]


@pytest.mark.parametrize("name", files())
def test_nothing_generated_is_out_of_date(name: str) -> None:
    assert Path(ROOT / name).read_text() == GENERATED[name](), "run `python -m tools`"
