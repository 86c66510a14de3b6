import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from scaler.core.logs import MAX_LINES, MAX_REMEMBERED, Once, configure
from scaler.demo.clock import ManualClock


@pytest.fixture
def configured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Configure logs, and read what was written; what other tests see of logs stays as it was."""
    before = structlog.get_config()
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setattr("threading.excepthook", None)

    def configure_and_log(level: str, style: str) -> Any:
        monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
        configure(level, style)
        return structlog.get_logger()

    yield configure_and_log
    structlog.configure(**before)


def test_json_is_one_object_a_line(configured: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    log = configured("info", "json")
    log.info("serving", grpc=9090)
    log.warning("two\nlines", text="\N{SNOWMAN}")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["grpc"]) == ("serving", "info", 9090)
    assert first["time"].endswith("Z")
    assert second["event"] == "two\nlines"


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_what_is_asked_for_is_logged(
    configured: Callable[..., Any], capsys: pytest.CaptureFixture[str], level: str, count: int
) -> None:
    log = configured(level, "json")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("event")
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == count
    assert out == "", "standard output is for the answers of commands"


def test_the_console_is_for_people_and_auto_knows_where_it_writes(
    configured: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    configured("info", "console").info("serving", grpc=9090)
    assert "serving" in capsys.readouterr().err
    configured("info", "auto").info("serving")
    json.loads(capsys.readouterr().err)


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_crash_tells_where_but_not_what(
    configured: Callable[..., Any], capsys: pytest.CaptureFixture[str], style: str
) -> None:
    log, secret = configured("info", style), "hunter2"
    try:
        int(secret)
    except ValueError:
        log.exception("a reader failed")
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "test_a_crash_tells_where_but_not_what" in err
    assert secret not in err


def test_libraries_stay_quiet_at_debug(configured: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """They log what they send, tokens included."""
    configured("debug", "json")
    logging.getLogger("botocore").debug("Authorization: hunter2")
    logging.getLogger("aiohttp").warning("a warning")
    assert capsys.readouterr().err == "WARNING aiohttp a warning\n"


async def test_once_lets_each_key_through_once_in_a_while(clock: ManualClock) -> None:
    once = Once(clock, seconds=300)
    assert [once("a"), once("a"), once("b"), once("a")] == [True, False, True, False]
    await clock.advance(299)
    assert not once("a")
    await clock.advance(1)
    assert [once("a"), once("a")] == [True, False]


def test_once_remembers_a_bounded_number(clock: ManualClock) -> None:
    once = Once(clock)
    for number in range(MAX_REMEMBERED):
        assert once(number)
    assert not once(0)
    assert once("one more")
    assert once(0), "forgotten for its sake"


async def test_a_namespace_fills_no_log(
    clock: ManualClock, configured: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    configured("info", "json")
    once = Once(clock, seconds=300)
    assert sum(once(number, "greedy") for number in range(3 * MAX_LINES)) == MAX_LINES
    assert once("a", "modest")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "more errors are left out of the log" in told[0]
    assert "greedy" in told[0]
    await clock.advance(300)
    assert once("a", "greedy")
