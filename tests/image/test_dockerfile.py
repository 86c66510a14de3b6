"""The Dockerfile's text: linted, and in step with the project."""

import re
import subprocess
import sys
from pathlib import Path

from scaler.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
BUILD, FINAL = re.split(r"^FROM .*$", TEXT, flags=re.MULTILINE)[1:]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_the_python_that_the_tests_run_on() -> None:
    assert re.findall(r"^ARG PYTHON=python:(\d+\.\d+)-slim-bookworm@sha256:", TEXT, re.MULTILINE) == ["3.11"]
    if sys.version_info[:2] == (3, 11):
        return
    requires = re.search(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text())
    assert requires
    assert requires[1] == "3.11"


def test_the_last_stage_only_takes_over_what_was_built() -> None:
    assert re.findall(r"^(?:USER) (.*)$", FINAL, re.MULTILINE) == ["65532:65532"]
    (command,) = re.findall(r"^RUN (.*)$", FINAL, re.MULTILINE)
    assert "uninstall" in command
    assert re.findall(r"^(?:COPY|ADD) (.*)$", FINAL, re.MULTILINE) == ["--from=build /opt/scaler /opt/scaler"]
    assert "HEALTHCHECK" not in TEXT  # Kubernetes has its own probes, and a command in the image would need a shell


def test_everything_is_installed_by_hash() -> None:
    for command in re.findall(r"pip [^&]*?install [^&]*", BUILD):
        assert "--require-hashes" in command or "--no-index" in command


def test_the_ports_are_those_of_the_server() -> None:
    defaults = Settings()
    ports = [address.rpartition(":")[2] for address in (defaults.listen, defaults.http, defaults.health_listen)]
    assert re.findall(r"^EXPOSE (.*)$", FINAL, re.MULTILINE) == [" ".join(ports)]


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {name for names in re.findall(r"^COPY (?!--from)(.*) \S+$", BUILD, re.MULTILINE) for name in names.split()}
    assert let_in == copied
    assert "scaler/pb" in lines  # the stubs are generated in the build
