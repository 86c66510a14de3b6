"""The image as its own Dockerfile makes it: what is in it, and that it serves without root and without writing."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from scaler.settings import DrainSettings

ROOT = Path(__file__).parents[2]
ENGINE = ["unshare", "--mount", sys.executable, str(Path(__file__).with_name("engine.py"))]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts in a namespace of its own"),
    pytest.mark.skipif(sys.base_prefix == "/usr", reason="Debian's own Python lets pip remove nothing (PEP 668)"),
    pytest.mark.timeout(600),  # everything is installed as in a new image
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("image")
    done = subprocess.run(
        [*ENGINE, "build", ROOT / "Dockerfile", scratch],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:]
    return scratch


def normal(pinned: str) -> str:
    """Return NAME==VERSION with the name as PyPI compares it (PEP 503)."""
    name, version = pinned.split("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def inside(image: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*ENGINE, "run", image, *command], capture_output=True, text=True, check=False)


@pytest.fixture
def server(image: Path) -> Iterator["subprocess.Popen[str]"]:
    command = ["scaler", "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json"]
    with subprocess.Popen([*ENGINE, "run", image, *command], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def logged(process: "subprocess.Popen[str]", event: str) -> dict[str, Any]:
    """Return the next event of that name in the log."""
    assert process.stderr is not None
    for line in process.stderr:
        found: dict[str, Any] = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"the server ended ({process.wait()}) without {event}")


def test_no_start_compiles_a_module(image: Path) -> None:
    told = (
        "import os, sys, scaler.cli, scaler.settings, scaler.server.app; "
        "specs = [getattr(module, '__spec__', None) for module in sys.modules.values()]; "
        "print([spec.name for spec in specs if spec and spec.cached and not os.path.exists(spec.cached)])"
    )
    assert inside(image, "python", "-c", told).stdout == "[]\n"


def test_it_serves_as_nobody_on_a_read_only_file_system_and_drains(server: Any) -> None:
    ports = logged(server, "serving")
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert re.search(r"^Uid:\s+65532\s+65532\s+65532\s+65532$", status, re.MULTILINE)
    assert re.search(r"^Groups:\s*(65532)?\s*$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert re.findall(r"^Cap(?:Inh|Prm|Eff|Bnd|Amb):\s+(\w+)$", status, re.MULTILINE) == ["0" * 16] * 5
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/readyz") as answer:
        assert answer.status == 200
    with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    server.send_signal(signal.SIGTERM)
    assert logged(server, "stopped")
    drain = DrainSettings()
    assert server.wait(timeout=drain.wait_seconds + 3 * drain.grace_seconds) == 0


def test_nothing_can_be_written_and_nothing_installed(image: Path) -> None:
    for folder in ("/var/tmp", "/opt/scaler", "/"):
        told = inside(image, "touch", f"{folder}/file")
        assert told.returncode == 1
        assert "Read-only file system" in told.stderr or "Permission denied" in told.stderr
    assert "Read-only file system" in inside(image, "touch", "/var/tmp/file").stderr
    for module in ("pip", "setuptools", "grpc_tools", "hatchling"):
        assert f"No module named '{module}'" in inside(image, "python", "-c", f"import {module}").stderr
    assert "No module named pip" in inside(image, "/usr/local/bin/python", "-m", "pip").stderr


def test_it_holds_the_locked_packages_and_the_list_of_them(image: Path) -> None:
    names = 'import importlib.metadata as m; print(*(f"{d.name}=={d.version}" for d in m.distributions()))'
    installed = set(
        inside(image, "python", "-c", names)
        .stdout.lower()
        .replace("_", "-")
        .replace("ruamel.yaml", "ruamel-yaml")
        .split()
    )
    locked = set(re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / "locks" / "runtime.txt").read_text(), re.MULTILINE))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ours = f"keda-queue-scaler=={version}"
    assert installed == {normal(name) for name in locked} | {ours}
    bill = json.loads(inside(image, "cat", "/opt/scaler/sbom.cdx.json").stdout)
    assert bill["bomFormat"] == "CycloneDX"
    listed = {normal(f"{part['name']}=={part['version']}") for part in bill["components"]}
    assert listed - {ours} == installed - {ours}
    assert f"{bill['metadata']['component']['name']}=={bill['metadata']['component']['version']}" == ours


def test_the_stubs_were_generated(image: Path) -> None:
    told = inside(image, "python", "-c", "import scaler.pb.externalscaler_pb2_grpc as stubs; print(stubs.__file__)")
    assert told.stdout.startswith("/opt/scaler/"), told.stderr
