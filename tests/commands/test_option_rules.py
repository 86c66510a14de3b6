"""Options that would have no effect are refused, whatever else is given."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.option_rules import RULES, OptionError
from scaler.commands.trace import TraceError
from tests.commands.test_simulate_formula import MANIFEST

NO_EFFECT = [
    ("explain f --around 1h", "--around: no effect without --at"),
    ("explain f --around 15m", "--around: no effect without --at"),  # though it is the default
    ("explain f --token-file t", "--token-file: no effect without --at"),
    ("explain f --ca c --cert c --key k", "--ca, --cert and --key: no effect without --address, --http or --forward"),
    ("explain f --server-name n", "--server-name: no effect without --address"),
    ("explain f --http h --at 1h --cert c", "--cert: no effect beside --at"),
    ("explain f --http h --at 1h --env A=b --replicas 3", "--env and --replicas: no effect beside --at"),
    ("explain f --http h --at 1h --address a", "--address: no effect beside --http"),
    ("explain f --address a --context c", "--context: no effect beside --address"),
    ("explain f --address a --config c", "--config: no effect beside --address"),
    ("explain -n shop --http h --at 1h --context c", "--context: no effect beside --at"),
    ("top --address a --once --interval 5", "--interval: no effect beside --once"),
    ("top --http a --context c --config c", "--context and --config: no effect without --forward"),
    ("migrate f --config c", "--config: no effect without --namespace"),
    ("simulate f --trace t --query q --column value", "--query and --column: no effect without --prometheus"),
    ("simulate f --trace t --region r", "--region: no effect without --cloudwatch-queue"),
    ("simulate f --trace t --hours 24", "--hours: no effect without --prometheus or --cloudwatch-queue"),
    ("simulate f --trace t --plot-style dark", "--plot-style: no effect without --plot"),
    ("advise f --goal g --trace t --hours 24", "--hours: no effect without --prometheus or --cloudwatch-queue"),
]


@pytest.mark.parametrize(("line", "said"), NO_EFFECT)
def test_an_option_without_effect_is_refused(line: str, said: str) -> None:
    done = CliRunner().invoke(app, line.split())
    assert isinstance(done.exception, OptionError), done.output
    assert str(done.exception).startswith(said)
    assert "\n" not in str(done.exception)


@pytest.mark.parametrize(
    "line",
    [
        "explain f --at 1h --around 1h --http h --token-file t --ca c",
        "explain f --address a --ca c --cert c --key k --server-name n --env A=b --replicas 3",
        "explain -n shop --address a --context c --config c",
        "explain f --context c --config c --env A=b",
        "explain f --forward --context c --config c --at 1h",
        "explain f --address a --at 1h",
        "top --forward --context c --config c --interval 5",
        "migrate -n shop --config c",
        "simulate f --prometheus p --query q --column arrivals --hours 5 --plot p.svg --plot-style dark",
        "simulate f --cloudwatch-queue q --region r --hours 5",
    ],
)
def test_options_that_belong_together(line: str) -> None:
    command, *words = line.split()
    given = {word for word in words if word.startswith("-")} | ({"--namespace"} if "-n" in words else set())
    assert [rule.broken(given) for rule in RULES[command]] == [None] * len(RULES[command])


def test_the_rules_know_no_option_that_there_is_not() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined] - it is a group, as there are several
    for name, rules in RULES.items():
        options = {option for parameter in commands[name].params for option in parameter.opts}
        for rule in rules:
            assert {*rule.options, *rule.needs, *rule.beside, *rule.unless} <= options


def test_an_option_of_the_environment_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCALER_CONFIG is set for every command of a shell."""
    monkeypatch.setenv("SCALER_CONFIG", "/none.yaml")
    done = CliRunner().invoke(app, ["explain", "/none.yaml", "--address", "x"])
    assert not isinstance(done.exception, OptionError)


@pytest.mark.parametrize("command", ["simulate", "advise"])
def test_workers_need_arrivals(tmp_path: Path, command: str) -> None:
    manifest, trace = tmp_path / "shop.yaml", tmp_path / "load.csv"
    manifest.write_text(
        MANIFEST.replace("    - OTHER\n", "").replace(
            '  advanced: {scalingModifiers: {formula: FORMULA, target: "5"}}\n', ""
        )
    )
    trace.write_text("time,visible,inFlight\n0,1,0\n600,1,0\n")
    goal = ["--goal", "replicas <= 3"] if command == "advise" else []
    words = [command, str(manifest), "--trace", str(trace), *goal, "--service-seconds", "1", "--seed", "7"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, TraceError), done.output
    assert str(done.exception) == (
        "--service-seconds and --seed: no effect without arrivals; the load has visible and inFlight, so no workers are "
        "modelled"
    )
