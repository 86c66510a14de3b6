"""The workflows: what runs in them is pinned, and what a pull request starts can neither write nor sign anything."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEXTS = [*FILES, ROOT / "action.yml"]
RENOVATE = json.loads((ROOT / "renovate.json").read_text())


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # `on` stays a word
    return found


JOBS = [pytest.param(job, id=f"{path.stem}-{name}") for path in FILES for name, job in load(path)["jobs"].items()]


RELEASE = load(ROOT / ".github" / "workflows" / "release.yml")["jobs"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_commit_and_tells_its_version(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used or "uses:" not in path.read_text()
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w.-]+(/[\w./-]+)?@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", comment), f"{action}: Renovate reads the version behind it"


def test_one_action_has_one_commit() -> None:
    commits: dict[str, set[str]] = {}
    for path in TEXTS:
        for action, commit in re.findall(r"uses: (\S+)@(.*)", path.read_text()):
            commits.setdefault(action, set()).add(commit)
    assert {action for action, seen in commits.items() if len(seen) > 1} == set()


def test_the_base_image_is_pinned_by_digest() -> None:
    (base,) = re.findall(r"^ARG PYTHON=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)) == {"${PYTHON}"}


def test_what_is_pinned_is_renewed() -> None:
    assert {"github-actions", "dockerfile", "custom.regex"} <= set(RENOVATE["enabledManagers"])
    workflows = "".join(path.read_text() for path in FILES)
    for manager in RENOVATE["customManagers"]:
        for pattern in manager["matchStrings"]:
            python = pattern.replace("(?<", "(?P<")
            assert re.search(python, workflows), f"{pattern} matches nothing"
        assert manager["customType"] == "regex"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_nothing_else(path: Path) -> None:
    assert load(path)["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in load(path)["on"]
    assert "workflow_run" not in load(path)["on"]


@pytest.mark.parametrize("path", [path for path in FILES if "pull_request" in load(path)["on"]], ids=lambda p: p.stem)
def test_a_pull_request_sees_no_secret_and_writes_nothing(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert "github.token" not in text
    assert "GITHUB_TOKEN" not in text
    assert all("permissions" not in job and "environment" not in job for job in load(path)["jobs"].values())


def test_no_release_needs_a_stored_secret() -> None:
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_leaves_no_credentials_behind(job: dict[str, Any]) -> None:
    assert int(job["timeout-minutes"]) <= 90
    pushes = any("git push" in step.get("run", "") for step in job["steps"])
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@") and not pushes:
            assert step["with"]["persist-credentials"] == "false"


@pytest.mark.parametrize("job", JOBS)
def test_a_script_reads_what_others_write_from_its_environment(job: dict[str, Any]) -> None:
    for step in job["steps"]:
        expressions = re.findall(r"\$\{\{(.*?)\}\}", step.get("run", ""))
        assert not expressions, "an expression in a script is pasted into it before the shell reads it"


def test_every_python_that_is_declared_is_tested() -> None:
    tested = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["run"]["strategy"]["matrix"]["python"]
    declared = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert set(declared) <= set(tested)
    assert tested == ["3.11", "3.12", "3.13", "3.14"]


def uses(job: str) -> str:
    return " ".join(step.get("uses", "") + step.get("run", "") for step in RELEASE[job]["steps"])


def needs(job: str) -> set[str]:
    direct = RELEASE[job].get("needs", [])
    direct = [direct] if isinstance(direct, str) else direct
    return set(direct).union(*map(needs, direct))


def test_nothing_is_published_before_everything_has_passed() -> None:
    for name in RELEASE:
        assert name == "check" or "check" in needs(name), name
    # PyPI takes no version twice, so it comes when everything else that can fail has not.
    assert {"dist", "image", "chart"} <= needs("pypi")
    assert {"pypi", "docs"} <= needs("release")
    assert ".ci/run" in uses("check")
    assert "tools.release" in uses("check")


def test_each_part_is_signed_by_the_workflow_itself() -> None:
    for name in ("pypi", "image", "chart", "dist"):
        assert RELEASE[name]["permissions"]["id-token"] == "write"
    assert "gh-action-pypi-publish" in uses("pypi")
    assert RELEASE["pypi"]["environment"]["name"] == "pypi"
    assert "password" not in str(RELEASE["pypi"])
    assert "cosign sign" in uses("image")
    assert "cosign sign" in uses("chart")
    assert "attest-build-provenance" in uses("dist")
    (build,) = [step["with"] for step in RELEASE["image"]["steps"] if "build-push-action" in step.get("uses", "")]
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert build["sbom"] == "true"
    assert build["provenance"] == "mode=max"


def test_only_the_last_steps_may_write_to_the_repository() -> None:
    writers = {name for name, job in RELEASE.items() if job.get("permissions", {}).get("contents") == "write"}
    assert writers == {"docs", "release"}
