import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scaler.keda.behavior import Behavior, Policy, ScaleDown, ScaleEvents, ScaleUp


def behavior(document: dict[str, Any]) -> Behavior:
    return TypeAdapter(Behavior).validate_json(json.dumps(document))


def test_what_is_not_given_has_the_api_servers_defaults() -> None:
    given = behavior({"scaleUp": {"selectPolicy": "Min"}})
    assert given.scale_up.policies == (Policy("Pods", 4, 15), Policy("Percent", 100, 15))
    assert given.scale_up.stabilization_window_seconds == 0
    assert given.scale_up.select_policy == "Min"
    assert given.scale_down == ScaleDown((Policy("Percent", 100, 15),), "Max", None, None)


def test_everything_given() -> None:
    policies = [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    given = behavior(
        {
            "scaleDown": {"policies": policies, "stabilizationWindowSeconds": 9, "tolerance": "50m"},
            "scaleUp": {"tolerance": 0},
        }
    )
    assert given.scale_down == ScaleDown((Policy("Pods", 2, 60),), "Max", 9, 0.05)
    assert given.scale_up.tolerance == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"scaleUp": {"policies": []}},
        {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}]}},
        {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}},
        {"scaleUp": {"policies": [{"type": "Pod", "value": 1, "periodSeconds": 15}]}},
        {"scaleUp": {"selectPolicy": "max"}},
        {"scaleUp": {"tolerance": 0.1}},
        {"scaleUp": {"tolerance": "-1"}},
        {"scaleUp": {"stabilizationWindowSeconds": 3601}},
        {"scaleUp": {"stabilizationWindow": 1}},
    ],
    ids=json.dumps,
)
def test_what_the_api_server_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        behavior(wrong)


TWO = (Policy("Pods", 3, 10), Policy("Percent", 50, 10))


@pytest.mark.parametrize(
    ("rules", "limit"),
    [(ScaleUp(TWO, "Max"), 14), (ScaleUp(TWO, "Min"), 12), (ScaleUp(TWO, "Disabled"), 9)],
    ids=["Max", "Min", "Disabled"],
)
def test_up_limits_round_per_cent_up(rules: ScaleUp, limit: int) -> None:
    assert ScaleEvents().up_limit(0, 9, rules) == limit


@pytest.mark.parametrize(
    ("rules", "limit"),
    [(ScaleDown(TWO, "Max"), 4), (ScaleDown(TWO, "Min"), 6), (ScaleDown(TWO, "Disabled"), 9)],
    ids=["Max", "Min", "Disabled"],
)
def test_down_limits_cut_per_cent_off(rules: ScaleDown, limit: int) -> None:
    assert ScaleEvents().down_limit(0, 9, rules) == limit


def test_moves_of_both_directions_count_until_they_are_a_period_old() -> None:
    events, rules = ScaleEvents(), Behavior(ScaleUp((Policy("Pods", 3, 10),)))
    events.record(0, 5, 8, rules)
    assert events.up_limit(9, 8, rules.scale_up) == 8
    events.record(9, 8, 2, rules)
    assert events.up_limit(9.5, 2, rules.scale_up) == 8  # 2 - 3 added + 6 removed + 3
    assert events.up_limit(10, 2, rules.scale_up) == 11  # the growth is 10 s old
    assert events.up_limit(19, 2, rules.scale_up) == 5


def test_a_slot_that_its_own_direction_needs_no_more_is_used_again() -> None:
    """The controller overwrites it even while the other direction's longer period still looks at it."""
    events = ScaleEvents()
    rules = Behavior(ScaleUp((Policy("Pods", 9, 10),)), ScaleDown((Policy("Pods", 1, 60),)))
    events.record(0, 1, 3, rules)
    assert events.down_limit(20, 3, rules.scale_down) == 0  # 3 - 2 added - 1
    events.record(20, 3, 4, rules)
    assert events.down_limit(20, 4, rules.scale_down) == 2  # 4 - 1 added - 1: the two of t = 0 are forgotten


@given(st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 50)), max_size=30))
def test_memory_stays_small(moves: list[tuple[float, int]]) -> None:
    """As many slots as there were moves in the longest period, never more."""
    events, rules, now, count = ScaleEvents(), Behavior(), 0.0, 10
    times = []
    for pause, target in moves:
        now += pause
        if target != count:
            events.record(now, count, target, rules)
            times.append(now)
            count = target
    busiest = max((sum(at - 15 <= other <= at for other in times) for at in times), default=0)
    assert len(events._added) <= busiest + 1
    assert len(events._removed) <= busiest + 1
