from typing import Any

import pytest

from bench.goals import goals


def _spread(middle: float, highest: float | None = None) -> dict[str, float]:
    return {"median": middle, "from": middle, "to": middle if highest is None else highest}


HOLDING: dict[str, list[dict[str, Any]]] = {
    "grpcio": [{"grpcio": "1.85.3", "floor ratio": _spread(1.11)}],
    "rpc": [{"ratio": 1.02, "p99 ratio": 1.9}, {"ratio": 1.15, "p99 ratio": 1.0}],
    "fleet": [
        {"ScaledObjects": 100, "failed": 0, "p99 ratio": _spread(1.2, 3.5), "longest block ms": _spread(2, 9)},
        {"ScaledObjects": 10_000, "failed": 0, "p99 ratio": _spread(1.9), "longest block ms": _spread(20, 49)},
    ],
    "processes": [{"ScaledObjects": 10_000, "the floor asks for": 4, "the scaler took": 5}],
    "storm": [{"ScaledObjects": 10_000, "failed": 0, "longest block ms": _spread(20, 50)}],
    "upstream": [{"ScaledObjects": 10_000, "places": 500, "ratio": 1.009}],
    "half hour": [
        {"ScaledObjects remembered": 10_000, "places": 500, "memory blocks": blocks} for blocks in (350_000, 350_100)
    ],
    "memory": [{"thing": "ScaledObject (on 500 places)", "counted": 9_500, "kB": _spread(7.9, 8.1)}],
    "start": [{"listening after s": _spread(1.5, 1.7), "RSS MB": _spread(75.0)}],
    "replicas": [{"polls": 1_500, "failed": 0}],
    "attacks": [{"size %": 100, "p99 ratio": 2.0, "p99 ms": 500.0, "lost": 0, "peak MB": 511.0}],
    "wake": [{"way": "SQS", "wake-ups": 200, "p99 s": 1.2, "target s": 1.3}],
    "idle": [
        {
            "streams": 2_000,
            "core %": _spread(14.9, 20),
            "RSS MB": 149.0,
            "latest, intervals": 2.0,
            "silent or broken": 0,
        }
    ],
    "restarts": [
        {"clients": 100, "streams of each": 200}
        | {f"{name} {when}": 100 for name in ("tasks", "leases", "askers", "RSS MB") for when in ("before", "after")}
    ],
    "end": [
        {"streams": 2_000, "streams in all": 10_000, "ended OK": 10_000, "exit code": 0, "seconds": _spread(2.0, 9.9)}
    ],
}
MISSED: dict[str, dict[str, Any]] = {
    "grpcio": {"floor ratio": _spread(1.1, 1.3)},
    "rpc": {"ratio": 1.16},
    "fleet": {"failed": 1},
    "processes": {"the scaler took": 6},
    "storm": {"longest block ms": _spread(20, 51)},
    "upstream": {"ratio": 1.02},
    "half hour": {"places": 490},  # the first of both rows, so they have grown since
    "memory": {"kB": _spread(8.1)},
    "start": {"RSS MB": _spread(75.1)},
    "replicas": {"failed": 1},
    "attacks": {"lost": 1},
    "wake": {"p99 s": 1.4},
    "idle": {"silent or broken": 1},
    "restarts": {"tasks after": 103},
    "end": {"exit code": 1},
}


def _holds(tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [row["holds"] for rows in goals(tables).values() for row in rows]


def test_every_goal_holds_at_its_limit() -> None:
    found = goals(HOLDING)
    assert list(found) == ["goals", "push goals"]
    assert set(_holds(HOLDING)) == {"yes"}
    assert [len(rows) for rows in found.values()] == [19, 6]
    assert all(row["goal"] and row["measured"] for rows in found.values() for row in rows)


@pytest.mark.parametrize("table", MISSED)
def test_a_goal_that_is_missed_says_no(table: str) -> None:
    first, *others = HOLDING[table]
    assert _holds({table: [first | MISSED[table], *others]}).count("no") == 1


@pytest.mark.parametrize(
    ("table", "smaller"),
    [
        ("fleet", {"ScaledObjects": 1_000}),
        ("processes", {"ScaledObjects": 1_000}),
        ("storm", {"ScaledObjects": 1_000}),
        ("upstream", {"ScaledObjects": 1_000}),
        ("half hour", {"ScaledObjects remembered": 1_000}),
        ("memory", {"counted": 950}),
        ("attacks", {"size %": 5}),
        ("wake", {"wake-ups": 40}),
        ("idle", {"streams": 400}),
        ("restarts", {"clients": 10}),
        ("end", {"streams": 400}),
    ],
)
def test_a_run_that_is_smaller_than_its_goal_proves_nothing(table: str, smaller: dict[str, Any]) -> None:
    rows = [row | smaller for row in HOLDING[table]]
    assert "too small a run to tell" in _holds({table: rows})
    assert "no" in _holds({table: [rows[0] | MISSED[table], *rows[1:]]})


def test_what_was_not_measured_is_not_judged() -> None:
    assert goals({}) == {}
    assert list(goals({"wake": HOLDING["wake"]})) == ["push goals"]
