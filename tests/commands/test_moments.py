"""Times as people write them: what each form means, in which zone, and what is refused."""

import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.commands.moments import MomentError, clock_time, moment, seconds, shown

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 28, 8, 20, 5, tzinfo=UTC).timestamp()  # 09:20:05 in Berlin


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("03:00", UTC, "2026-11-28 03:00"),
        ("3:00", UTC, "2026-11-28 03:00"),
        ("03:00:30", UTC, "2026-11-28 03:00:30"),
        ("03:00", BERLIN, "2026-11-28 02:00"),
        ("09:00", BERLIN, "2026-11-28 08:00"),
        ("09:00", UTC, "2026-11-27 09:00"),  # it is 08:20: yesterday's
        ("23:59", BERLIN, "2026-11-27 22:59"),
        ("03:00Z", BERLIN, "2026-11-28 03:00"),
        ("03:00 UTC", BERLIN, "2026-11-28 03:00"),
        ("03:00+05:30", BERLIN, "2026-11-27 21:30"),
        ("03:00-0300", BERLIN, "2026-11-28 06:00"),
        ("yesterday 03:00", BERLIN, "2026-11-27 02:00"),
        ("Today 03:00", BERLIN, "2026-11-28 02:00"),
        ("yesterday 23:00Z", BERLIN, "2026-11-27 23:00"),
        ("now", UTC, "2026-11-28 08:20:05"),
        ("-30m", BERLIN, "2026-11-28 07:50:05"),
        ("-30min", BERLIN, "2026-11-28 07:50:05"),
        ("-90s", UTC, "2026-11-28 08:18:35"),
        ("-1h30m", UTC, "2026-11-28 06:50:05"),
        ("-1d", UTC, "2026-11-27 08:20:05"),
        ("2026-11-28T03:00", BERLIN, "2026-11-28 02:00"),
        ("2026-11-28 03:00:10", BERLIN, "2026-11-28 02:00:10"),
        ("2026-11-28T03:00Z", BERLIN, "2026-11-28 03:00"),
        ("2026-11-28 03:00 UTC", BERLIN, "2026-11-28 03:00"),
        ("2026-11-28T03:00:00+01:00", UTC, "2026-11-28 02:00"),
        ("2026-11-28", UTC, "2026-11-28 00:00"),
        ("  03:00 ", UTC, "2026-11-28 03:00"),
    ],
)
def test_what_a_time_means(text: str, zone: timezone | ZoneInfo, expected: str) -> None:
    assert moment(text, NOW, zone) == utc(expected)


@pytest.mark.parametrize(
    "text",
    ["", "-", "3", "25:00", "03:60", "-30", "-m", "30m", "soon", "2026-13-01T00:00", "--5m", "03:00 CET", "1764298800"],
)
def test_what_is_no_time_is_told_with_what_is(text: str) -> None:
    with pytest.raises(MomentError, match=r"--at: '.*' is no time.*write 03:00, .*-30m"):
        moment(text, NOW, UTC)


@pytest.mark.parametrize("text", ["2026-11-28T09:00Z", "2027-01-01", "today 23:00"])
def test_the_future_is_refused_with_the_present(text: str) -> None:
    with pytest.raises(MomentError, match="is still to come; it is 2026-11-28 08:20:05 UTC"):
        moment(text, NOW, UTC)


def test_summer_time() -> None:
    autumn = utc("2026-10-25 10:00")
    assert moment("02:30", autumn, BERLIN) == utc("2026-10-25 01:30")  # it was twice: the later one
    with pytest.raises(MomentError, match="clocks were put forward"):
        moment("2026-03-29T02:30", NOW, BERLIN)


def test_the_zone_of_this_machine_counts_without_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    try:
        assert moment("03:00", NOW) == utc("2026-11-28 08:00")
        assert shown(NOW) == "2026-11-28 03:20:05 EST (UTC-05:00)"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.integers(0, 86_399))
def test_a_time_of_day_is_never_to_come_and_never_older_than_a_day(second: int) -> None:
    text = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    assert NOW - 86_400 < moment(text, NOW, UTC) <= NOW


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (UTC, "2026-11-28 08:20:05 UTC"),
        (BERLIN, "2026-11-28 09:20:05 CET (UTC+01:00)"),
        (ZoneInfo("America/Sao_Paulo"), "2026-11-28 05:20:05 UTC-03:00"),  # whose name is only "-03"
        (timezone(timedelta(hours=5, minutes=30)), "2026-11-28 13:50:05 UTC+05:30"),
    ],
)
def test_a_moment_is_shown_with_its_zone(zone: timezone | ZoneInfo, expected: str) -> None:
    assert shown(NOW, zone) == expected


def test_the_date_is_shown_where_it_is_another() -> None:
    assert clock_time(NOW, NOW, BERLIN) == "09:20:05"
    assert clock_time(NOW - 36_000, NOW, BERLIN) == "11-27 23:20:05"


@pytest.mark.parametrize(("text", "expected"), [("15m", 900), ("90s", 90), ("1h30m", 5_400), ("1d", 86_400)])
def test_a_length_of_time(text: str, expected: float) -> None:
    assert seconds(text, "--around") == expected


@pytest.mark.parametrize("text", ["", "0m", "15", "-5m", "1m1h"])
def test_no_length_of_time(text: str) -> None:
    with pytest.raises(MomentError, match=r"--around: '.*' is no length of time"):
        seconds(text, "--around")
