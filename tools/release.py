"""A release: `python -m tools.release TAG` prints its part of the changelog, and fails where the tag is not what is released."""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/keda-queue-scaler/keda-queue-scaler"
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
"""Of Keep a Changelog, and of Artifact Hub."""


@dataclass(frozen=True, slots=True)
class Section:
    """One version of the changelog: `version` is `Unreleased` or a number, `date` is YYYY-MM-DD once it is released."""

    version: str
    date: str
    text: str

    @property
    def changes(self) -> Iterator[tuple[str, str]]:
        """Yield each change with its kind; text under no heading of a kind is of kind `added`."""
        kind = "added"
        for block in re.split(r"\n\s*\n|\n(?=- |#)", self.text):
            line = " ".join(block.split())
            if line.startswith("#"):
                kind = line.lstrip("# ").lower()
                if kind not in KINDS:
                    raise ValueError(f"CHANGELOG.md: {line}: a version has {', '.join(KINDS)}")
            elif line:
                yield kind, line.removeprefix("- ")


def sections(changelog: str) -> list[Section]:
    """Return the versions of a changelog, the newest first."""
    parts = re.split(r"^## +", changelog, flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        head, _, text = part.partition("\n")
        match = re.fullmatch(r"\[?(Unreleased|\d+\.\d+\.\d+\S*?)\]?(?: - (\d{4}-\d{2}-\d{2}))?", head.strip())
        if match is None:
            raise ValueError(f"CHANGELOG.md: ## {head}: must be `## Unreleased` or `## 1.2.3 - YYYY-MM-DD`")
        found.append(Section(match[1], match[2] or "", text.strip()))
    return found


def version() -> str:
    """Return the version of the project, which stands in pyproject.toml alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def notes(tag: str, released: str, changelog: str) -> str:
    """Return what a GitHub release of `tag` says; raises `ValueError` unless it is the version `released`, with its date."""
    if tag != f"v{released}":
        raise ValueError(f"the tag {tag} is not v{released}, the version in pyproject.toml")
    for section in sections(changelog):
        if section.version == released:
            if not section.date:
                raise ValueError(f"CHANGELOG.md: ## {released} needs its date: `## {released} - YYYY-MM-DD`")
            return section.text + f"\n\nHow to check what you install: {REPOSITORY}/blob/{tag}/docs/verify.md\n"
    raise ValueError(f"CHANGELOG.md has no `## {released} - YYYY-MM-DD`")


def main() -> int:
    """Print the notes for the tag on the command line; return the exit code."""
    try:
        (tag,) = sys.argv[1:]
        sys.stdout.write(notes(tag, version(), (ROOT / "CHANGELOG.md").read_text()))
    except ValueError as error:
        sys.stderr.write(f"tools.release: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
