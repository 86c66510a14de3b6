"""What a release says, the site of its version, and what Artifact Hub reads."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tools import site
from tools.release import Section, notes, sections, version

ROOT = Path(__file__).parents[2]
CHANGELOG = """\
# Changelog

The format is that of Keep a Changelog.

## Unreleased

## 1.1.0 - 2026-12-01

### Added

- A source, with a text
  of two lines.
- Another.

### Fixed

- `explain` ends.

## [1.0.0] - 2026-11-28

First version.
"""


def test_a_version_has_its_changes_by_kind() -> None:
    empty, newer, first = sections(CHANGELOG)
    assert list(empty.changes) == []
    assert (newer.version, newer.date) == ("1.1.0", "2026-12-01")
    assert list(newer.changes) == [
        ("added", "A source, with a text of two lines."),
        ("added", "Another."),
        ("fixed", "`explain` ends."),
    ]
    assert list(first.changes) == [("added", "First version.")]


def test_a_release_says_what_has_changed_and_how_to_check_it() -> None:
    text = notes("v1.1.0", "1.1.0", CHANGELOG)
    assert text.startswith("### Added\n\n- A source")
    assert "First version" not in text
    assert "blob/v1.1.0/docs/verify.md" in text


@pytest.mark.parametrize(
    ("tag", "released", "changelog", "told"),
    [
        ("v1.1.1", "1.1.0", CHANGELOG, "the tag v1.1.1 is not v1.1.0"),
        ("v1.2.0", "1.2.0", CHANGELOG, "CHANGELOG.md has no `## 1.2.0 - YYYY-MM-DD`"),
        ("v1.0.0", "1.0.0", "## 1.0.0\n\nFirst.", "needs its date"),
        ("v1.0.0", "1.0.0", "## Version one\n", "must be `## Unreleased`"),
    ],
)
def test_a_tag_that_is_not_what_is_released_is_refused(tag: str, released: str, changelog: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        notes(tag, released, changelog)


def test_a_heading_that_is_no_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="### Misc"):
        list(Section("1.0.0", "", "### Misc\n\n- x").changes)


def test_the_command_tells_and_fails() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tools.release", "v0.0.0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr == f"tools.release: the tag v0.0.0 is not v{version()}, the version in pyproject.toml\n"


def test_the_site_has_every_version_and_the_newest_as_latest(tmp_path: Path) -> None:
    pages, built = tmp_path / "pages", tmp_path / "built"
    pages.mkdir()
    built.mkdir()
    (pages / ".git").mkdir()
    for number in ("0.9.0", "0.10.0", "1.0.0-rc.1", "0.9.1"):
        (built / "index.html").write_text(number)
        site.publish(pages, built, number)
    listed = json.loads((pages / "versions.json").read_text())
    assert [each["version"] for each in listed] == ["1.0.0-rc.1", "0.10.0", "0.9.1", "0.9.0"]
    assert [each["version"] for each in listed if each["aliases"] == ["latest"]] == ["0.10.0"]
    assert (pages / "latest" / "index.html").read_text() == "0.10.0"
    assert (pages / "0.9.1" / "index.html").read_text() == "0.9.1"
    assert "latest/" in (pages / "index.html").read_text()
    with pytest.raises(ValueError, match="must be a version"):
        site.publish(pages, built, "../elsewhere")


def test_artifact_hub_lists_a_keda_scaler_and_its_chart() -> None:
    package = yaml.safe_load((ROOT / "artifacthub" / "keda-queue-scaler" / "artifacthub-pkg.yml").read_text())
    chart = yaml.safe_load((ROOT / "charts" / "keda-queue-scaler" / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert package["version"] == chart["version"] == chart["appVersion"] == project["version"]
    required = {"version", "name", "displayName", "createdAt", "description"}
    assert required <= package.keys()
    assert chart["maintainers"]
    for key in ("images", "links", "recommendations", "changes"):
        assert yaml.safe_load(chart["annotations"][f"artifacthub.io/{key}"]), key
    assert yaml.safe_load(chart["annotations"]["artifacthub.io/changes"]) == package["changes"]
    (image,) = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    values = yaml.safe_load((ROOT / "charts" / "keda-queue-scaler" / "values.yaml").read_text())
    assert image["image"] == f"{values['image']['repository']}:{chart['version']}"
    for url in (chart["icon"], package["logoURL"], *(shot["url"] for shot in package["screenshots"])):
        assert (ROOT / url.partition("/main/")[2]).is_file(), url
