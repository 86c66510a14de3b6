"""The newest grpcio beside the locked one; nothing is fetched here."""

import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import grpcio, report

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find nothing, as without a network."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.mark.slow
@pytest.mark.usefixtures("_no_index")
def test_without_a_network_it_says_that_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[report.Found] = []
    monkeypatch.setattr(report, "write", written.append)
    monkeypatch.setattr(report, "read", lambda: report.Found({}))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, _cores: None)
    command.main(["--quick", "grpcio"])
    said = capsys.readouterr()
    assert "grpcio: not measured: pip cannot fetch the newest grpcio: ERROR: No matching distribution" in said.err
    assert [list(found.tables) for found in written] == [["machine"], []]


async def test_a_pip_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(grpcio, "FETCH_SECONDS", 0.01)
    with pytest.raises(grpcio.NotMeasured, match="not fetched the newest grpcio within"):
        await grpcio.fetch(tmp_path)


@pytest.mark.slow
@pytest.mark.bench
async def test_both_run_and_tell_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would have fetched is told apart by its version alone."""

    async def fetch(directory: Path) -> None:
        (directory / "sitecustomize.py").write_text("import grpc\ngrpc.__version__ = '99.0.0'\n")

    monkeypatch.setattr(grpcio, "fetch", fetch)
    found = await grpcio.measure(grpcio.Effort(rounds=2, calls=20))
    locked, newest = found.tables["grpcio"]
    assert (locked["grpcio"], newest["grpcio"]) == (version("grpcio"), "99.0.0")
    assert locked["scaler ratio"] == {"median": 1, "from": 1, "to": 1}
    assert newest["floor ratio"]["median"] > 0
    assert len(found.rounds["grpcio"]) == newest["runs"] == 2
