"""What a real fleet costs the scaler: 13,000 HelmReleases and 3,000 Applications from an API server of its own process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = [sys.executable, str(Path(__file__).with_name("kubernetes_fleet.py"))]


@pytest.fixture
def fleet() -> Iterator[str]:
    with subprocess.Popen([*PROGRAM, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


@pytest.mark.slow
def test_large_fleet_is_cheap_to_list_to_keep_and_to_follow(fleet: str) -> None:
    cost = json.loads(subprocess.run([*PROGRAM, "read", fleet], check=True, capture_output=True, timeout=100).stdout)

    assert cost["objects"] == [13_000, 3_000]
    assert cost["peak_mib"] < 60
    assert cost["steady_mib"] < 40
    assert cost["seen_seconds"] < 10
    assert cost["requests"] == {"get": 4, "list": 26 + 6, "watch": 2}  # each page once, and no list for the change
    assert cost["turns"] > 500  # others had their turn while the pages came
    assert cost["longest_turn_ms"] < 40  # 20 is the aim; a machine under load is slower
