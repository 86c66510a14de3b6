"""Pictures: small, drawn for what was asked, refused before the work, and the tables beside them."""

import io
import math
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scaler.commands.plot import PIXELS, Picture, checked, plot_runs, plot_sweep, thinned
from scaler.commands.reporting import recommended, sweep_table
from scaler.commands.simulate import Options, Run, SimulationError, Simulator, changed, subject_of
from scaler.commands.simulate_command import the_trigger
from scaler.commands.trace import Trace
from scaler.commands.work import WorkerModel

SAMPLE = Path(__file__).parents[2] / "samples" / "shoryuken-sqs.yaml"


def runs(lengths: tuple[str, ...], trace: Trace) -> list[Run]:
    spec, index = the_trigger(str(SAMPLE))
    simulator = Simulator(trace, Options(workers=WorkerModel(3, 20, 5), seed=1))
    return [simulator.run(subject_of(changed(spec, index, "queueLength", length), index)) for length in lengths]


def load(start: float, hours: int = 24) -> Trace:
    minutes = range(60 * hours + 1)
    rates = tuple(max(0.0, 0.5 * math.sin(minute / 100)) + 2 * (minute % 97 == 0) for minute in minutes)
    return Trace(tuple(start + 60.0 * minute for minute in minutes), {"arrivals": rates})


@pytest.mark.parametrize(
    ("look", "start", "label"),
    [("light", 1_793_577_600.0, "time in UTC"), ("dark", 0.0, "hours:minutes since the start")],
)
def test_a_day_of_two_runs_is_a_small_picture_with_clock_time(
    tmp_path: Path, look: str, start: float, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    trace = load(start)
    one, other = runs(("10", "50"), trace)
    path = tmp_path / "day.svg"
    picture = checked(path, "dark" if look == "dark" else "light")
    plot_runs([("now", one), ("advised", other)], trace, picture, "shop/orders", ((0, 20), 0.25))
    first = path.read_bytes()
    assert len(first) < 300_000
    text = first.decode()
    for shown in (
        label,
        "now: p95",
        "advised: p95",
        "asked for by the metrics",
        "min 0, max 20",
        "replica-hours",
        "cost",
    ):
        assert f"{shown}" in text, shown
    assert ("#0d1117" in text) is (look == "dark")
    plot_runs([("now", one), ("advised", other)], trace, picture, "shop/orders", ((0, 20), 0.25))
    assert path.read_bytes() == first


def test_a_sweep_is_cost_against_wait_with_the_best_bargain(tmp_path: Path) -> None:
    lengths = ("5", "20", "80")
    swept = runs(lengths, load(0.0, hours=4))
    plot_sweep("queueLength", lengths, swept, Picture(tmp_path / "sweep.png"), None)
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(sweep_table("queueLength", lengths, swept, 0.5))
    lines = console.export_text().splitlines()
    assert re.split(r"\s{2,}", lines[0].strip())[:3] == ["replica-", "mean", "most"]
    marked = [line.split()[1] for line in lines if line.lstrip().startswith("→")]
    assert marked == [lengths[recommended(swept)]]
    assert "…" not in console.export_text(clear=False)


def test_the_best_bargain_is_neither_the_dearest_nor_the_slowest_where_one_lies_between() -> None:
    swept = runs(("1", "8", "400"), load(0.0, hours=4))
    assert recommended(swept) == 1


def test_a_format_or_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"--plot run.gif: the name must end in .svg, .png, .pdf"):
        checked(Path("run.gif"), "light")
    with pytest.raises(SimulationError, match=r"there is no folder /nowhere"):
        checked(Path("/nowhere/run.svg"), "light")


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-5, 5) | st.just(math.nan)), max_size=3000))
def test_a_line_has_no_more_points_than_pixels_and_keeps_its_peak(points: list[tuple[float, float]]) -> None:
    points.sort(key=lambda point: point[0])
    kept = thinned(points, 0, 1000)
    assert len(kept) <= PIXELS + 2
    assert {*map(id, kept)} <= {*map(id, points)}
    real = [value for _, value in points if not math.isnan(value)]
    if real:
        assert max(value for _, value in kept if not math.isnan(value)) == max(real)
