"""`top`: keys and moves as tables, and what is drawn at 80 and 160 columns."""

import io
from typing import Any

import pytest
from rich.console import Console

from scaler.commands.top import Query, Shape, TopError, View, keys, press
from scaler.commands.top_table import Data, course, problem_of, screen, state_word, table, value_of

SHAPE = Shape(rows=10, pages=3, lines=40, height=16, states=("error", "active"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q", ["q"]),
        ("\x1b", ["escape"]),
        ("\x1b[A\x1bOB", ["up", "down"]),
        ("\x1b[1;5C\x1b[D", ["right", "left"]),
        ("\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["pageup", "pagedown", "home", "end"]),
        ("\x1b[15~x", ["x"]),
        ("\r\x7f\x03\x15 ", ["enter", "backspace", "ctrl-c", "ctrl-u", " "]),
        ("äß", ["ä", "ß"]),
        ("\x1b\x1b", ["escape"]),
        ("\x00\x1a", []),
    ],
)
def test_keys_of_a_terminal(text: str, expected: list[str]) -> None:
    assert keys(text) == expected


def at(page: int = 1, selected: int = 0, **changes: Any) -> View:
    return View(Query(page=page), selected=selected, **changes)


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        (at(), "down", at(selected=1)),
        (at(), "up", at()),
        (at(selected=9), "down", at(page=2)),
        (at(page=3, selected=9), "j", at(page=3, selected=9)),
        (at(page=2), "k", at(page=1, selected=9)),
        (at(page=2), "pagedown", at(page=3)),
        (at(page=3), "pagedown", at(page=3, selected=9)),
        (at(page=2, selected=4), "pageup", at(page=1, selected=4)),
        (at(page=1, selected=4), "pageup", at()),
        (at(page=2, selected=4), "g", at()),
        (at(), "end", at(page=3, selected=9)),
        (at(selected=3), "enter", at(selected=3, mode="detail")),
        (at(mode="detail", scroll=5), "escape", at()),
        (at(mode="detail"), "q", at()),
        (at(mode="detail"), "pagedown", at(mode="detail", scroll=13)),
        (at(mode="detail", scroll=30), "G", at(mode="detail", scroll=27)),
        (at(mode="detail"), "up", at(mode="detail")),
        (at(), "q", at(mode="quit")),
        (at(mode="search"), "ctrl-c", at(mode="quit")),
        (at(), "?", at(mode="help")),
        (at(mode="help"), "x", at()),
        (at(), " ", at(paused=True)),
        (at(page=2, selected=3), "f", View(Query(state="error"))),
        (View(Query(state="active")), "f", View()),
        (View(), "F", View(Query(state="active"))),
        (View(), "s", View(Query(sort="value"))),
        (View(Query(sort="name")), "S", View(Query(sort="streams"))),
        (View(), "r", View(Query(sort="-state"))),
        (View(Query("a", "error", "-age", 2)), "escape", View(Query(sort="-age"))),
        (View(), "/", View(mode="search")),
        (View(mode="search", typed="or"), "d", View(mode="search", typed="ord")),
        (View(mode="search", typed="or"), "q", View(mode="search", typed="orq")),
        (View(mode="search", typed="or"), "backspace", View(mode="search", typed="o")),
        (View(mode="search", typed="or"), "ctrl-u", View(mode="search")),
        (View(mode="search", typed="or "), "enter", View(Query("or"), typed="or ")),
        (View(Query("a"), mode="search", typed="or"), "escape", View(Query("a"), typed="a")),
        (at(), "x", at()),
    ],
)
def test_what_a_key_does(before: View, key: str, after: View) -> None:
    assert press(before, key, SHAPE) == after


def test_an_empty_table_has_no_detail() -> None:
    assert press(View(), "enter", Shape()).mode == "table"
    assert press(View(), "down", Shape()).selected == 0


def test_options_are_checked() -> None:
    with pytest.raises(TopError, match="--state sleeping: must be one of error, refused, held"):
        Query(state="sleeping").check()
    with pytest.raises(TopError, match="--sort age2: must be one of name"):
        Query(sort="age2").check()


def item(**changes: Any) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "name": "orders-worker",
        "source": "sqs",
        "state": "active",
        "stale": False,
        "error": None,
        "held": None,
        "fault": None,
        "reasons": ["active: backlog 120 is above 0"],
        "doubts": [],
        "metrics": [{"name": "m", "value": 120.0, "target": 5.0, "metricType": "AverageValue"}],
        "active": True,
        "activeSince": 7_300.0,
        "readingAge": 3.2,
        "lastCall": 150.0,
        "streams": 1,
        "recent": {"series": {"value": [None, 0.0, 60.0, 120.0] * 30}},
        **changes,
    }


FAILING = item(
    name="a-name-that-is-much-longer-than-there-is-room-for-in-a-narrow-table",
    state="error",
    active=None,
    error={"code": "UNAVAILABLE", "message": "SQS queue orders: no answer [from]\nanybody"},
    metrics=[{"name": "m", "value": None, "target": 5.0, "metricType": "AverageValue"}],
    readingAge=None,
    lastCall=None,
)


def drawn(what: Any, width: int) -> list[str]:
    console = Console(width=width, height=24, file=io.StringIO(), force_terminal=False)
    console.print(what)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "active"),
        ({"stale": True, "doubtful": True}, "stale"),
        ({"doubtful": True}, "doubtful"),
        ({"state": "held", "stale": True}, "held"),
        ({"state": "refused"}, "refused"),
        ({"state": "of a newer server"}, "of a newer server"),
    ],
)
def test_the_worst_word_of_a_row(changes: dict[str, Any], word: str) -> None:
    assert state_word(item(**changes)) == word


REFUSED = item(
    state="refused",
    error={"code": "INVALID_ARGUMENT", "message": "queus: unknown key"},
    metrics=[],
    active=None,
    activeSince=None,
    readingAge=None,
    recent=None,
    places=[],
    calls=7,
)


def test_refused_metadata_has_a_row_and_a_detail() -> None:
    assert "INVALID_ARGUMENT: queus: unknown key" in drawn(table([REFUSED], 160), 160)[1]
    data = Data(ANSWER, {"namespace": "shop", "name": "orders", "triggers": [REFUSED]})
    assert "queus: unknown key" in "\n".join(drawn(screen(data, View(mode="detail"), 80, 24, "h"), 80))


@pytest.mark.parametrize("width", [40, 80, 160, 300])
def test_the_table_fits(width: int) -> None:
    found = drawn(table([FAILING, item()], width), width)
    assert len(found) == 3, "one line for each row"
    assert max(map(len, found)) <= width


def test_80_columns_hold_what_matters() -> None:
    head, failing, fine = drawn(table([FAILING, item()], 80, sort="state"), 80)
    assert head.split() == ["STATE↑", "SCALEDOBJECT", "SOURCE", "VALUE", "/", "TARGET", "READ", "ASKED", "STR"]
    assert failing.split()[0] == "error"
    assert "…" in failing
    assert fine.split() == ["active", "shop/orders-worker", "sqs", "120", "/", "5", "3", "s", "2", "m", "1"]


def test_160_columns_also_hold_the_course_and_the_reason() -> None:
    _, failing, fine = drawn(table([FAILING, item()], 160), 160)
    assert "UNAVAILABLE: SQS queue orders: no answer" in failing
    assert "█" in fine
    assert "active: backlog 120" in fine
    assert "2 h" in fine


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (FAILING, "UNAVAILABLE: SQS queue orders: no answer [from]\nanybody"),
        (item(held={"why": "no answer", "secondsLeft": 3_500}), "no answer (held for 58 min more)"),
        (item(fault="slow"), "slow"),
        (item(doubts=["is it misspelt?"]), "is it misspelt?"),
        (item(reasons=[]), ""),
    ],
)
def test_the_problem_of_a_row(row: dict[str, Any], said: str) -> None:
    assert problem_of(row) == said


def test_the_metric_that_asks_for_most_is_shown() -> None:
    metrics = [{"value": 3.0, "target": 10.0}, {"value": 2.0, "target": 1.0}, {"value": None, "target": 1.0}]
    assert value_of(item(metrics=metrics)) == "2 / 1 …"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], ""), ([None, 0.0, 7.0], " ▁█"), ([0.0, 0.0], "▁▁"), ([1.0, None, None, 4.0, None, None], "▃█ ")],
)
def test_a_course_is_the_highest_of_each_step_and_a_gap_where_nothing_is_known(
    values: list[float | None], expected: str
) -> None:
    assert course(values, 3) == expected


ANSWER = {
    "total": 2,
    "matched": 2,
    "page": 1,
    "pages": 1,
    "states": {"error": 1, "active": 1},
    "items": [FAILING, item()],
}
DETAIL = {"namespace": "shop", "name": "orders", "triggers": [{**FAILING, "places": [], "calls": 3, "lastCall": 2.0}]}


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize(
    "view", [View(), View(mode="help"), View(mode="detail"), View(mode="search", typed="x" * 200), View(selected=5)]
)
@pytest.mark.parametrize(
    "data",
    [Data(), Data(ANSWER, DETAIL), Data({**ANSWER, "items": []}), Data(ANSWER, problem="no answer " * 40)],
    ids=["nothing yet", "rows", "no row", "a problem"],
)
def test_a_screen_is_never_larger_than_the_terminal(data: Data, view: View, width: int) -> None:
    found = drawn(screen(data, view, width, 24, "http://server:9091/"), width)
    assert len(found) <= 24, "\n".join(found)
    assert max(map(len, found)) <= width


def test_a_look_that_fails_is_told_and_the_rows_stay() -> None:
    found = "\n".join(drawn(screen(Data(ANSWER, problem="http://h: no answer"), View(), 80, 24, "h"), 80))
    assert "http://h: no answer" in found
    assert "orders-worker" in found
