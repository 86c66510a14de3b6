"""Steps of the release that can run anywhere, run as the workflow has them: the site's branch, and the chart's archive."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tools import binaries
from tools.release import version

ROOT = Path(__file__).parents[2]
JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]


def script(job: str, word: str) -> str:
    """Return the script of the step of `job` that speaks of `word`."""
    (found,) = [step["run"] for step in JOBS[job]["steps"] if word in step.get("run", "")]
    assert isinstance(found, str)
    return found


def git(*words: str | Path, at: Path) -> str:
    own = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
    )
    return subprocess.run(["git", *own, *words], cwd=at, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """Return a repository as GitHub has it, with a source and no branch for the site."""
    bare, source = tmp_path / "remote.git", tmp_path / "source"
    source.mkdir()
    git("init", "--quiet", "--bare", bare, at=tmp_path)
    git("init", "--quiet", at=source)
    (source / "README.md").write_text("# a\n")
    git("add", "--all", at=source)
    git("commit", "--quiet", "--message", "a", at=source)
    git("push", "--quiet", bare, "HEAD:refs/heads/main", at=source)
    return bare


def test_the_branch_of_the_site_keeps_every_version_and_nothing_else(remote: Path, tmp_path: Path) -> None:
    for number in ("0.1.0", "0.2.0"):
        work = tmp_path / number
        built = work / "site"
        built.mkdir(parents=True)
        (built / "index.html").write_text(number)
        git("clone", "--quiet", "--branch", "main", remote, work / "checkout", at=tmp_path)
        environment = {
            **os.environ,
            "RUNNER_TEMP": str(work),
            "GITHUB_REF_NAME": f"v{number}",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        subprocess.run(
            ["bash", "-e", "-c", script("docs", "tools.site")], cwd=work / "checkout", env=environment, check=True
        )
    kept = git("ls-tree", "--name-only", "gh-pages", at=remote).split()
    assert kept == [".nojekyll", "0.1.0", "0.2.0", "index.html", "latest", "versions.json"]
    assert git("show", "gh-pages:latest/index.html", at=remote) == "0.2.0"
    assert git("show", "gh-pages:0.1.0/index.html", at=remote) == "0.1.0"
    assert [each["version"] for each in json.loads(git("show", "gh-pages:versions.json", at=remote))] == [
        "0.2.0",
        "0.1.0",
    ]


@pytest.mark.parametrize("helm", [binaries.HELM_3, binaries.HELM_4], ids=["helm-3", "helm-4"])
def test_the_chart_is_packed_under_the_name_that_is_pushed(tmp_path: Path, helm: str) -> None:
    packed = script("chart", "helm package").replace("helm", str(binaries.binary(helm, "helm")), 1)
    packed = packed.replace("charts/", f"{ROOT}/charts/")
    subprocess.run(["bash", "-e", "-c", packed], cwd=tmp_path, check=True, capture_output=True)
    name = f"keda-queue-scaler-{version()}.tgz"
    assert name.replace(version(), "${GITHUB_REF_NAME#v}") in script("chart", "helm push")
    with tarfile.open(tmp_path / name) as archive:
        names = {member.partition("/")[2] for member in archive.getnames()}
    assert {"Chart.yaml", "values.schema.json", "README.md", "templates/tests/health.yaml", "files/health.py"} <= names
    assert not any(each.startswith("ci/") for each in names)
