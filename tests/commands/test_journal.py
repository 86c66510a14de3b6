"""What `explain --at` reads out of a journal: as a table of moments over one night, in words, and from a real server."""

from typing import Any

import pytest

from scaler.commands.at import exit_code
from scaler.commands.journal import Journal, then
from tests.commands.night import ANSWER, BEGAN, FAULT, NIGHT, told

REFUSED: dict[str, Any] = {
    **NIGHT,
    "source": "",
    "specs": [],
    "events": [
        {
            "at": BEGAN + 100,
            "kind": "refused",
            "code": "INVALID_ARGUMENT",
            "message": "queus: unknown key",
            "count": 220,
            "until": BEGAN + 5_000,
        }
    ],
}


@pytest.mark.parametrize(
    ("after", "state", "value", "fault", "silence"),
    [
        (-1, "unknown", None, False, None),
        (0, "inactive", [0.0], False, None),
        (599, "inactive", [0.0], False, None),
        (600, "active", [120.0], False, None),
        (1_030, "active", [120.0], True, None),
        (2_000, "held", [120.0], True, None),
        (4_670, "error", [120.0], True, None),
        (4_730, "settling", [120.0], False, None),
        (5_000, "active", [60.0], False, None),
        (6_799, "active", [60.0], False, None),
        (7_000, "active", [60.0], False, (BEGAN + 6_800, BEGAN + 8_000)),
        (8_000, "active", [60.0], False, None),
        (9_090, "active", [60.0], False, None),
        (9_200, "active", [60.0], False, (BEGAN + 9_000, None)),
    ],
)
def test_what_was_so(
    after: float, state: str, value: list[float] | None, *, fault: bool, silence: tuple[float, float | None] | None
) -> None:
    was = then(NIGHT, BEGAN + after)
    assert was.word == state
    assert (None if was.value is None else was.value["values"]) == value
    assert (was.fault is not None) == fault
    assert was.silence == silence


@pytest.mark.parametrize(("after", "word"), [(99, "unknown"), (100, "error"), (5_050, "error"), (6_000, "unknown")])
def test_a_refusal_counts_while_it_is_told(after: float, word: str) -> None:
    assert then(REFUSED, BEGAN + after).word == word


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            700,
            ["sqs-orders: active", "since 02:10:00: sqs-orders = 120, 24 times its target 5", "02:11:40 ← asked for"],
        ),
        (2_000, ["sqs-orders: held", f"since 02:17:40: held, active: {FAULT}"]),
        (1_030, ["since 02:16:40: a read fails"]),
        (4_670, ["sqs-orders: error", f"UNAVAILABLE: {FAULT}", "03:18:20 all reads are good again"]),
        (4_730, ["settling, active: less is read since trouble"]),
        (7_000, ["KEDA had not asked since 03:53:20, for 3 min, and asked again at 04:13:20"]),
        (9_300, ["KEDA had not asked since 04:30:00, for 5 min, and has not asked since", "streams: 1"]),
        (3_000, ["nothing changed between 02:35:00 and 03:05:00"]),
        (-60, ["nothing is known of 01:59:00: this server's journal begins at 02:00:00"]),
    ],
)
def test_what_is_said(after: float, said: list[str]) -> None:
    text = told(after)
    for each in said:
        assert each in text, text


def test_a_moment_long_before_the_journal_tells_of_no_trigger() -> None:
    assert told(-86_400).count("\n") == 0
    assert "11-27" not in told(-60)


def test_a_server_is_named_where_there_are_several() -> None:
    assert told(700, server="pod-a").startswith("as told by pod-a\n")


def test_nobody_and_never_and_refused_are_told_apart() -> None:
    assert "KEDA has not asked this server about it" in told(0, {**ANSWER, "triggers": []})
    never = {**NIGHT, "lastAsked": None, "events": []}
    assert "KEDA has never asked this server" in told(0, {**ANSWER, "triggers": [never]})
    assert "the metadata was refused: INVALID_ARGUMENT: queus: unknown key" in told(
        900, {**ANSWER, "triggers": [REFUSED]}
    )


def test_of_very_many_events_the_nearest_are_told() -> None:
    many = [{"at": BEGAN + second, "kind": "value", "values": [float(second)]} for second in range(600)]
    text = told(300, {**ANSWER, "triggers": [{**NIGHT, "events": many}]})
    assert "560 left out" in text
    assert "sqs-orders = 301," in text
    assert "sqs-orders = 599," not in text


def test_markup_in_a_message_stays_text() -> None:
    event = {"at": BEGAN, "kind": "error", "code": "UNAVAILABLE", "message": "[/red] {0} [bold] :x: x"}
    assert "UNAVAILABLE: [/red] {0} [bold] :x: x" in told(1, {**ANSWER, "triggers": [{**NIGHT, "events": [event]}]})


@pytest.mark.parametrize(
    ("after", "triggers", "code"),
    [(700, [NIGHT], 0), (4_670, [NIGHT], 1), (-60, [NIGHT], 1), (0, [], 1), (900, [NIGHT, REFUSED], 1)],
)
def test_exit_codes(after: float, triggers: list[dict[str, Any]], code: int) -> None:
    assert exit_code([Journal(BEGAN, tuple(triggers))], BEGAN + after) == code
