"""Every link of every page leads to a file and a heading that are there, the links to this repository on GitHub, too."""

import re
from pathlib import Path

import pytest

from tools.markdown import anchors, links

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".github/SECURITY.md", "samples/README.md")),
    ROOT / "charts" / "keda-queue-scaler" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
OURS = re.compile(r"https://github\.com/keda-queue-scaler/keda-queue-scaler(?:/(?:blob|tree)/[^/]+/([^#]*))?(?:#(.*))?")
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if match := OURS.fullmatch(link):
            path, anchor = ROOT / (match[1] or "README.md"), match[2] or ""
        elif re.match("[a-z]+:", link):
            continue
        else:
            name, _, anchor = link.partition("#")
            path = (page.parent / name).resolve() if name else page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path.read_text()), f"{link}: {path.name} has {sorted(anchors(path.read_text()))}"


def test_anchors_are_made_as_github_makes_them() -> None:
    page = (
        "# `redis` lists\n## KEDA's own\n## What? It's *so*\n### a [link](x.md)\n## Twice\n## Twice\n```sh\n# no\n```\n"
    )
    assert anchors(page) == {"redis-lists", "kedas-own", "what-its-so", "a-link", "twice", "twice-1"}
