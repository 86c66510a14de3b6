"""The demo as a stranger runs it: one cycle, every workload from 0 up and back."""

import re
import subprocess
import sys

import pytest

from scaler.demo.run import NEXT
from scaler.demo.view import course_line

pytestmark = pytest.mark.slow


@pytest.mark.timeout(400)
def test_one_cycle_wakes_every_workload_and_lets_it_sleep_again() -> None:
    command = [sys.executable, "-c", "from scaler.cli import main; main()", "demo", "--once"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=390, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    most = dict(re.findall(r"^(\S+): 0 → N → 0, at most (\d+) replicas", ended.stdout, re.MULTILINE))
    assert most.keys() == {"shoryuken", "mailers", "mailers-off", "flux-shard1"}
    assert int(most["shoryuken"]) > 1
    assert int(most["mailers"]) > 1
    assert most["flux-shard1"] == "1"
    interrupted = dict(re.findall(r"^(\S+): .* replicas, (\d+) jobs interrupted", ended.stdout, re.MULTILINE))
    assert interrupted.keys() == {"mailers", "mailers-off"}
    assert interrupted["mailers"] == "0", "busy pods are spared"
    assert len(re.findall(r"; woke in \d+(\.\d)? m?s$", ended.stdout, re.MULTILINE)) == len(most)
    assert re.search(r"shoryuken +push: 0 → 1, ScalerActive; \d+ messages", ended.stdout)
    assert ended.stdout.splitlines()[-1] == NEXT
    assert "Traceback" not in ended.stderr


def test_the_course_is_a_line_as_high_as_the_most() -> None:
    assert course_line([0, 1, 5, 10, 0], most=10) == " ▁▄█ "
    assert course_line([], most=0) == ""
