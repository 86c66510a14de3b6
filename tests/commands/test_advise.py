"""Advice: the goal's grammar, the search, how sure it is, and a patch that applies."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scaler import cli
from scaler.commands.advice.goal import GoalError, parse_goal
from scaler.commands.advice.levers import levers
from scaler.commands.advice.search import Task, advise, parts
from scaler.commands.simulate import Options, Simulator, subject_of
from scaler.commands.simulate_command import the_trigger
from scaler.commands.trace import Trace
from scaler.commands.work import WorkerModel

SAMPLES = Path(__file__).parents[2] / "samples"
MANIFEST = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: orders, namespace: shop}
spec:
  scaleTargetRef: {name: worker}
  minReplicaCount: 1
  maxReplicaCount: 12
  triggers:
    - type: external
      metadata:
        scalerAddress: scaler:9090
        source: sqs
        queueURL: https://sqs.eu-west-1.amazonaws.com/123456789012/orders
        queueLength: "40"
"""
FEW = ("queueLength", "scaleDown.stabilizationWindowSeconds", "scaleUp.policies")
"""Levers enough for a test."""
SQS, SIDEKIQ = SAMPLES / "shoryuken-sqs.yaml", SAMPLES / "sidekiq-busy-ratio.yaml"
WORKERS = WorkerModel(service_seconds=6, startup_seconds=15, per_replica=2)


def load(hours: float, peak: float = 1.0, start: float = 1_793_577_600.0) -> Trace:
    """Return a steady trickle with a minute of work for many every half hour."""
    minutes = range(int(hours * 60) + 1)
    rates = tuple(0.1 + peak * (minute % 20 in {7, 8}) for minute in minutes)
    return Trace(tuple(start + 60.0 * minute for minute in minutes), {"arrivals": rates})


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "so.yaml"
    path.write_text(MANIFEST)
    return path


def task(file: Path, trace: Trace, goal: str, names: tuple[str, ...] = FEW) -> Task:
    spec, index = the_trigger(str(file))
    subject = subject_of(spec, index)
    found = [lever for lever in levers(subject, WORKERS.per_replica, every_wait=True) if lever.name in names]
    return Task(subject, trace, Options(workers=WORKERS, seed=0), parse_goal(goal, None, arrivals=True), found)


def quiet(_runs: int) -> None:
    return


GOALS = {
    "p95 wait <= 30s": [("p95 wait", 30.0, False)],
    "P95 WAIT <= 2m and killed jobs = 0": [("p95 wait", 120.0, False), ("killed jobs", 0.0, False)],
    "max wait < 1.5h AND replicas <= 20": [("max wait", 5400.0, True), ("replicas", 20.0, False)],
    "p99 wait≤250ms": [("p99 wait", 0.25, False)],
    "p50 wait <= 5, wake-ups per day <= 10": [("p50 wait", 5.0, False), ("wake-ups per day", 10.0, False)],
    "replica-hours per day <= 40 and mean replicas <= 3": [
        ("replica-hours per day", 40.0, False),
        ("mean replicas", 3.0, False),
    ],
}


@pytest.mark.parametrize(("text", "terms"), GOALS.items())
def test_a_goal_is_terms_joined_by_and(text: str, terms: list[tuple[str, float, bool]]) -> None:
    found = parse_goal(text, None, arrivals=True).terms
    assert [(term.most, term.below) for term in found] == [(most, below) for _, most, below in terms]
    for term, (name, _, _) in zip(found, terms, strict=True):
        assert name in term.text.lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not understood; a goal is one or more terms"),
        ("p95 wait", "'p95 wait' is not understood"),
        ("p95 wait >= 30s", "'p95 wait >= 30s' is not understood"),
        ("p94 wait <= 30s", "'p94 wait' is nothing that can be measured"),
        ("p95 wait <= 30 days", "the unit 'days' must be one of ms, s, m, h"),
        ("replicas <= 3s", "the unit 's' must be left out"),
        ("replicas per day <= 3", "'replicas per day' is nothing that can be measured"),
        ("p95 wait = 30s", "only 0 can be demanded with =; say <="),
        ("cost <= 3", "cost needs --replica-hour-price"),
        ("p95 wait <= 30s and", "not understood"),
        ("p95 wait <= 30s or replicas <= 2", "not understood"),
    ],
)
def test_a_goal_that_is_not_understood_is_shown_with_the_grammar(text: str, said: str) -> None:
    with pytest.raises(GoalError, match=re.escape(said)):
        parse_goal(text, None, arrivals=True)


def test_waits_cannot_be_wished_for_where_no_job_is_modelled() -> None:
    with pytest.raises(GoalError, match="'p95 wait <= 3s' needs a trace with `arrivals`"):
        parse_goal("p95 wait <= 3s", None, arrivals=False)


def test_the_bound_of_a_total_is_cut_to_the_part_that_is_replayed(manifest: Path) -> None:
    asked = task(manifest, load(1), "replica-hours <= 1")
    run = Simulator(asked.trace, asked.options).run(asked.subject)
    goal = parse_goal(f"replica-hours <= {run.replica_hours}", None, arrivals=True)
    assert goal.excess(run) == 0
    assert goal.excess(run, 0.5) > 0
    assert "replica-hours" in goal.missed(run, 0.5)[0]


@pytest.mark.slow
def test_the_cheapest_settings_that_meet_the_goal_are_found_again_with_the_same_seed(manifest: Path) -> None:
    asked = task(manifest, load(1), "p95 wait <= 60s and killed jobs = 0")
    advice = advise(asked, quiet)
    assert advice.met
    assert asked.goal.missed(advice.now)
    assert not asked.goal.missed(advice.then)
    assert advice.replays is not None
    assert advice.replays >= 3
    again = advise(asked, quiet)
    assert (again.settings, again.then.summary()) == (advice.settings, advice.then.summary())
    whole = Simulator(asked.trace, asked.options)
    for name in advice.settings:  # each change is worth something: without it the goal is missed or it costs more
        run = whole.run(asked.set({key: value for key, value in advice.settings.items() if key != name}))
        assert asked.goal.excess(run, 1.0, 0.85) or run.replica_hours >= advice.then.replica_hours


@pytest.mark.slow
def test_a_goal_beyond_all_settings_tells_what_comes_closest_and_which_bounds_would_do(manifest: Path) -> None:
    asked = task(manifest, load(1), "p99 wait <= 1s")
    advice = advise(asked, quiet)
    assert not advice.met
    assert "p99 wait <= 1s: it is" in advice.missed[0]
    assert asked.goal.excess(advice.then) < asked.goal.excess(advice.now)
    assert "minReplicaCount" in advice.bounds
    assert advice.replays is None


@pytest.mark.slow
def test_settings_that_fail_on_what_they_were_not_tuned_on_are_not_called_checked(manifest: Path) -> None:
    calm, wild = load(2, peak=0.0), load(1, peak=1.5, start=1_793_577_600.0 + 2 * 3600 + 60)
    trace = Trace(calm.times + wild.times, {"arrivals": calm.columns["arrivals"] + wild.columns["arrivals"]})
    advice = advise(task(manifest, trace, "p95 wait <= 60s"), quiet)
    assert advice.check is not None
    assert advice.check.missed
    assert advice.met  # by settings tuned on all of it


def test_whole_days_are_left_for_the_check_where_there_are_some() -> None:
    tuned, left = parts(load(96))
    assert (tuned.seconds, left.seconds) == (3 * 86_400, 86_400)
    tuned, left = parts(load(48))
    assert (tuned.seconds, left.seconds) == (86_400, 86_400)
    tuned, left = parts(load(3))
    assert (tuned.seconds, left.seconds) == (7200, 3600)
    assert tuned.times[-1] == left.times[0]


def test_every_lever_writes_what_it_reads_and_no_value_is_refused() -> None:
    for file in (SQS, SIDEKIQ, SAMPLES / "generic-controller.yaml", SAMPLES / "flux-shard.yaml"):
        spec, index = the_trigger(str(file))
        subject = subject_of(spec, index)
        found = levers(subject, 10, every_wait=True)
        assert {"type", "pollingInterval", "cooldownPeriod", "scaleDown.policies"} <= {lever.name for lever in found}
        for lever in found:
            for value in lever.values(spec):
                changed = lever.write(spec, value)
                assert lever.now(changed) == value
                subject_of(changed, index)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["scaler", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.mark.slow
def test_the_command_tells_patch_and_exit_code(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = load(1)
    rows = zip(trace.times, trace.columns["arrivals"], strict=True)
    (tmp_path / "load.csv").write_text("time,arrivals\n" + "".join(f"{time:.0f},{rate}\n" for time, rate in rows))
    monkeypatch.chdir(tmp_path)
    left = [lever.name for lever in levers(subject_of(*the_trigger("so.yaml")), 2, every_wait=False)]
    keep = [word for name in left if name not in FEW for word in ("--keep", name)]
    model = ("--service-seconds", "6", "--per-replica", "2", "--startup-seconds", "15")
    common = ("advise", "so.yaml", "--trace", "load.csv", *model, *keep)
    goal = "p95 wait <= 60s"
    assert run(monkeypatch, *common, "--goal", goal, "--output", "json", "--plot", "advice.svg") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["met"]
    assert said["then"]["waitP95"] <= 60 < said["now"]["waitP95"]
    assert (tmp_path / "advice.svg").stat().st_size < 300_000
    assert {each["setting"] for each in said["changes"]} <= {*FEW}
    applied = subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=said["patch"], text=True, check=False)
    assert applied.returncode == 0
    assert manifest.read_text() != MANIFEST
    assert run(monkeypatch, *common, "--goal", "p99 wait <= 1s") == 1
    out = capsys.readouterr().out
    assert "meets p99 wait <= 1s with none of the settings that were tried; these come closest" in out
    assert "missed: p99 wait <= 1s: it is" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--goal", "fast"), "--goal: 'fast' is not understood"),
        (("--goal", "p95 wait <= 3s", "--plot", "x.gif"), "--plot x.gif: the name must end in"),
        (
            ("--goal", "p95 wait <= 3s", "--keep", "colour"),
            "--keep colour: is none of the settings that would be tried",
        ),
        (("--goal", "p95 wait <= 3s"), "give one of --trace FILE"),
        (("--goal", "p95 wait <= 3s", "--prometheus", "http://127.0.0.1:9", "--query", "x"), "no connection"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "advise", str(SQS), *arguments) == 2
    assert said in capsys.readouterr().err
