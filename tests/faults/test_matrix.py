"""Every source through every fault: the right value, one that is young enough, or an error; never nothing to do."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from scaler.demo.proxy import Trouble

pytestmark = pytest.mark.slow

STALE_SECONDS, DEADLINE_SECONDS = 1.0, 1.0  # of the triggers and of the server
TROUBLE_SECONDS = 3.5
RECOVERY_SECONDS = 3.0
"""Two refresh intervals of 0.2 s, the pause of at most 1 s before the next try, and two slow cores."""
SLACK_SECONDS = 0.5
TOLD_FROM_MEMORY_SECONDS = 0.2
ERRORS = {"UNAVAILABLE", "FAILED_PRECONDITION"}


@pytest.mark.parametrize(
    ("trouble", "how", "hard"),
    [
        pytest.param(Trouble.REFUSE, {}, True, id="refuses"),
        pytest.param(Trouble.HANG, {}, True, id="hangs"),
        pytest.param(Trouble.DELAY, {"seconds": 0.3}, False, id="delays"),
        pytest.param(Trouble.CUT, {"after_bytes": 0}, True, id="cuts at once"),
        pytest.param(Trouble.CUT, {"after_bytes": 90}, False, id="cuts in the middle"),
        pytest.param(Trouble.CORRUPT, {}, True, id="corrupts"),
        pytest.param(Trouble.RESET, {}, True, id="resets"),
    ],
)
@pytest.mark.parametrize("hold", ["0", "3600"], ids=["errors", "held"])
async def test_every_source_through(
    everything: Callable[[str], Any], trouble: Trouble, how: dict[str, Any], hold: str, *, hard: bool
) -> None:
    tasks_before, memory_before = asyncio.all_tasks(), 0
    async with everything(hold) as stage:
        streams = [asyncio.create_task(case.listen(stage.stub)) for case in stage.cases]
        for case in stage.cases:
            await _tells(stage, case, case.truth[0], 15.0)
        memory_before = psutil.Process().memory_info().rss

        began = time.monotonic()
        await stage.turn(trouble, **how)
        await asyncio.gather(*(case.put(7) for case in stage.cases))
        changed = time.monotonic()
        await stage.ask_until(lambda: time.monotonic() >= changed + TROUBLE_SECONDS)
        during = {case.name: case.since(began) for case in stage.cases}

        recovered = time.monotonic()
        await stage.turn(Trouble.NONE)
        await asyncio.gather(*(_tells(stage, case, case.truth[1], RECOVERY_SECONDS) for case in stage.cases))
        for case in stage.cases:
            _check(case, began, changed, held=hold != "0")
            late = [a for a in case.since(changed + STALE_SECONDS + SLACK_SECONDS) if a.asked < recovered]
            assert late, f"{case.name}: was not asked"
            if hard and hold == "0":
                assert {a.told for a in late} <= ERRORS, case.name
            if hard:
                slow = [a for a in late if a.answered - a.asked > TOLD_FROM_MEMORY_SECONDS]
                assert len(slow) <= len(late) / 4, f"{case.name}: what is known was waited for: {slow}"
            assert len(during[case.name]) >= 4, f"{case.name}: too few answers to judge by"
        assert not any(stream.done() for stream in streams), [case.stream_code for case in stage.cases]
        grown = psutil.Process().memory_info().rss - memory_before
        assert grown < 48 << 20
        ports = {proxy.port for proxy in stage.proxies}
        await asyncio.gather(*(_closed(stream) for stream in streams))
    await _nothing_left(tasks_before, ports)


def _check(case: Any, began: float, changed: float, *, held: bool) -> None:
    old, new = case.truth
    answers = case.since(began)
    slow = [answer for answer in answers if answer.answered - answer.asked > DEADLINE_SECONDS + SLACK_SECONDS]
    assert len(slow) <= len(answers) / 10, (
        f"{case.name}: beyond the deadline: {slow}"
    )  # this machine may stop for a while
    for answer in answers:
        match answer.told:
            case bool(active):
                assert active, f"{case.name}: inactive while work waits, {answer.asked - changed:.2f} s in"
            case str(code):
                assert code in ERRORS, f"{case.name}: {answer}"
                assert not held, f"{case.name}: an error under work that was told: {answer}"
            case value:
                assert old <= value <= new or new <= value <= old, f"{case.name}: {answer}"  # work comes in one by one
                if value != new and not held:
                    age = answer.asked - changed
                    assert age <= STALE_SECONDS + SLACK_SECONDS + case.lag_seconds, (
                        f"{case.name}: old after {age:.2f} s"
                    )


async def _tells(stage: Any, case: Any, value: float, seconds: float) -> None:
    """Ask until `value` is told and active, for at most `seconds`."""
    end = time.monotonic() + seconds
    while True:
        await case.ask(stage.stub)
        if (case.values[-1].told, case.activities[-1].told) == (value, True):
            return
        told = (case.values[-1].told, case.activities[-1].told)
        assert time.monotonic() < end, f"{case.name}: {told} instead of {value} for {seconds:g} s"
        await asyncio.sleep(0.1)


async def _closed(stream: "asyncio.Task[None]") -> None:
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)


async def _nothing_left(tasks_before: set[Any], ports: set[int]) -> None:
    """Assert that no task of the server and no connection to a backend is left, a moment after it was closed."""
    for _ in range(50):
        connections = [
            found
            for found in psutil.Process().net_connections("tcp")
            if {found.laddr and found.laddr.port, found.raddr and found.raddr.port} & ports
        ]
        tasks = {task for task in asyncio.all_tasks() - tasks_before if "scaler" in repr(task.get_coro())}
        if not connections and not tasks:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"left behind: {tasks}, {connections}")
