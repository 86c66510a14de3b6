"""Every source's readers under trouble: nothing but what is true, with its proof, or a fault comes out."""

import asyncio
import importlib.util
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scaler.core.domain import Found, Place, Reader
from scaler.core.errors import Fault
from scaler.demo.contract import OWN_TROUBLES, Stage
from scaler.demo.proxy import Trouble
from scaler.demo.scripted import SCRIPT
from scaler.demo.sqs import SqsDouble
from scaler.server.app import open_readers
from scaler.sources import SOURCES
from scaler.sources.base import Trigger
from scaler.sources.triggers import parse

HERE = Path(__file__).parent
PATIENCE_SECONDS = 12.0
"""After so long a reader has said what is wrong: a connection may hang for as long as a read may take."""
TROUBLES: dict[str, tuple[Trouble, dict[str, Any], bool]] = {
    "refuse": (Trouble.REFUSE, {}, True),
    "hang": (Trouble.HANG, {}, True),
    "cut at once": (Trouble.CUT, {"after_bytes": 0}, True),
    "cut after 1 byte": (Trouble.CUT, {"after_bytes": 1}, True),
    "cut after 40 bytes": (Trouble.CUT, {"after_bytes": 40}, False),  # a short answer may fit
    "cut after 150 bytes": (Trouble.CUT, {"after_bytes": 150}, False),
    "garbage": (Trouble.CORRUPT, {}, True),
    "reset": (Trouble.RESET, {}, True),
}
each_source = pytest.mark.parametrize("source", list(SOURCES))
each_trouble = pytest.mark.parametrize(
    "trouble",
    [pytest.param(each, marks=pytest.mark.slow) if each == "hang" else each for each in (*TROUBLES, *OWN_TROUBLES)],
)


def backend_of(source: str) -> ModuleType:
    path = HERE / "backends" / f"{source}.py"
    assert path.exists(), f"source {source} brings its backend under trouble: {path.relative_to(HERE.parents[1])}"
    spec = importlib.util.spec_from_file_location(f"backend_{source}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SqsDouble().env.items():
        if value:
            monkeypatch.setenv(name, value)


async def read(readers: Sequence[Reader], trigger: Trigger) -> dict[Place, Found | Fault]:
    """Read all places of `trigger` once, as the store does: what is not reported in time is a fault."""
    outcomes: dict[Place, Found | Fault] = {}
    await _read(readers, trigger.places(), outcomes)
    values = {place: found.value for place, found in outcomes.items() if isinstance(found, Found)}
    if len(values) == len(outcomes):
        await _read(readers, trigger.further_places(values), outcomes)
    return outcomes


async def _read(readers: Sequence[Reader], places: Sequence[Place], outcomes: dict[Place, Found | Fault]) -> None:
    for reader in readers:
        mine = [place for place in places if place.kind in reader.kinds]
        why: Fault = Fault("no answer in time")
        try:
            if mine:
                async with asyncio.timeout(reader.timeout_seconds):
                    await reader.read(mine, outcomes.setdefault)
        except Fault as fault:
            why = fault
        except TimeoutError:
            pass
        for place in mine:
            outcomes.setdefault(place, why)


def assert_true(trigger: Trigger, truth: dict[Place, Any], outcomes: dict[Place, Found | Fault]) -> None:
    """Assert that `outcomes` hold only faults, and values from which the same follows as from `truth`."""
    now = time.time()
    for place, outcome in outcomes.items():
        if isinstance(outcome, Found):
            assert place in truth, f"{place} was never there"
            # Values may differ in what only tells when they were read; what follows from them may not.
            told, true = (trigger.assess(values, now) for values in ({**truth, place: outcome.value}, truth))
            assert (told.metrics, told.active) == (true.metrics, true.active), f"{place}: {outcome.value}"
        else:
            assert isinstance(outcome, Fault), f"{place}: {outcome!r}"
            assert str(outcome), "a fault says what is wrong"
            strangers = [each for each in SOURCES if each != trigger.source]
            assert not re.search(rf"\b({'|'.join(strangers)})\b", str(outcome), re.IGNORECASE), outcome


async def only_truth_or_faults(
    readers: Sequence[Reader], trigger: Trigger, truth: dict[Place, Any], *, hard: bool, cut_off: bool
) -> None:
    """Read until a fault was told; assert that nothing else but `truth` was.

    `cut_off`: no answer of the backend can be whole, so that whoever finds something keeps what it found before. Only a
    watch may, until it has noticed.
    """
    end = time.monotonic() + (PATIENCE_SECONDS if hard else 1.0)
    while True:
        outcomes = await read(readers, trigger)
        assert_true(trigger, truth, outcomes)
        for place, outcome in outcomes.items():
            watched = any(reader.watched for reader in readers if place.kind in reader.kinds)
            assert not (cut_off and isinstance(outcome, Found)) or watched, f"{place}: from where, if not from before?"
        if any(isinstance(outcome, Fault) for outcome in outcomes.values()):
            return
        if time.monotonic() > end:
            assert not hard, "no fault was told"
            return
        await asyncio.sleep(0.1)


@each_source
@each_trouble
async def test_nothing_but_the_truth_or_a_fault_comes_out(source: str, trouble: str) -> None:
    async with backend_of(source).stage() as stage:
        assert isinstance(stage, Stage)
        assert set(stage.troubles) == set(OWN_TROUBLES)
        trigger = parse({"source": source, **stage.metadata}, "shop")
        steady = [stage.backends.hand(reader) for reader in SOURCES[source].readers]
        truth = await truth_of(steady, trigger)
        hard, cut_off = True, trouble not in stage.troubles
        if trouble in stage.troubles:
            await stage.troubles[trouble]()
        else:
            kind, how, hard = TROUBLES[trouble]
            for proxy in stage.proxies:
                await proxy.turn(kind, **how)
        fresh = [stage.backends.hand(reader) for reader in SOURCES[source].readers]
        try:
            for readers in (steady, fresh):
                await only_truth_or_faults(readers, trigger, truth, hard=hard, cut_off=cut_off and hard)
        finally:
            for reader in (*steady, *fresh):
                await reader.close()


async def truth_of(readers: Sequence[Reader], trigger: Trigger) -> dict[Place, Any]:
    """Return what is found while all is well: something to do, proven."""
    outcomes = await read(readers, trigger)
    truth: dict[Place, Any] = {}
    for place, outcome in outcomes.items():
        assert isinstance(outcome, Found), f"{place}: {outcome}"
        assert outcome.proof != SCRIPT
        assert outcome.proof.whole
        assert outcome.proof.origin
        truth[place] = outcome.value
    told = trigger.assess(truth, time.time())
    assert told.active
    assert any(metric.value > 0 for metric in told.metrics), "an empty backend would prove nothing"
    return truth


def test_every_reader_of_the_server_belongs_to_a_source() -> None:
    from scaler.sources.backends import Backends  # noqa: PLC0415 - for this test alone

    used = {reader for source in SOURCES.values() for reader in source.readers}
    assert {type(reader) for reader in open_readers(Backends())} == used
