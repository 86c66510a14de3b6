import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sources.argocd.applications import Application, application, overdue

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def document(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "namespace": "argocd", "creationTimestamp": "2026-01-01T12:00:00Z", **metadata},
        "spec": {"destination": {"server": "https://a", "namespace": "shop"}},
        **({"status": status} if status is not None else {}),
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (document({"reconciledAt": "2026-01-01T12:03:00Z"}), Application("https://a", NOON + 180)),
        (document({}), Application("https://a", NOON)),
        (document(), Application("https://a", NOON)),
        (
            document(annotations={"argocd.argoproj.io/skip-reconcile": "true"}),
            Application("https://a", math.inf),
        ),
        (document(annotations={"argocd.argoproj.io/skip-reconcile": "false"}), Application("https://a", NOON)),
        (document() | {"spec": {"destination": {"name": "prod"}}}, Application("", NOON)),
    ],
    ids=["compared", "never compared", "without status", "skipped", "not skipped", "destination by name"],
)
def test_application(raw: dict[str, Any], expected: Application) -> None:
    assert application(raw) == expected


@pytest.mark.parametrize("raw", [document({"reconciledAt": "noon"}), {"metadata": {"name": "shop"}}])
def test_what_cannot_be_understood_is_no_application_in_time(raw: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        application(raw)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, (0, 1185.0)), (180, (0, 1005.0)), (185, (1, math.inf)), (1e9, (1, math.inf)), (-math.inf, (0, math.inf))],
)
def test_overdue(age: float, expected: tuple[int, float]) -> None:
    assert overdue([Application("", 1000 - age)], 180, 1000) == expected


APPLICATIONS = st.lists(st.builds(Application, st.just(""), st.floats(0, 2000) | st.just(math.inf)), max_size=8)


@given(found=APPLICATIONS, now=st.floats(0, 3000), ahead=st.floats(0, 1))
def test_nothing_changes_before_until(found: list[Application], now: float, ahead: float) -> None:
    count, until = overdue(found, 180, now)
    assert until > now
    later = now + ahead * (min(until, now + 3000) - now)
    if later < until:
        assert overdue(found, 180, later) == (count, until)
    if until < math.inf:
        assert overdue(found, 180, until)[0] > count
