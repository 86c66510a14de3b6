"""What is generated from the models is what the models say now."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_generated_is_out_of_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run `python -m tools`:\n{done.stdout}{done.stderr}"
