"""The site is built, strictly, from what is here: no page without a menu, no link without an end, no fetch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.markdown import blocks
from tools.site_links import on_page_markdown

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/keda-queue-scaler/keda-queue-scaler"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    nowhere = "http://127.0.0.1:9"  # whatever would be fetched fails
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"a page that is in no menu belongs into the nav of mkdocs.yml:\n{done.stderr}"
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        name = "index.html" if page.stem == "index" else f"{page.stem}/index.html"
        assert (site / name).is_file(), name


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.findall(r'(?:src="|<link rel="(?:stylesheet|preload)"[^>]*href=")https?:', page.read_text()), page


def test_what_leaves_docs_leads_to_the_repository(site: Path) -> None:
    for page in site.rglob("index.html"):
        for path in re.findall(rf'href="{REPOSITORY}/(?:blob|tree)/main/([^"#]*)', page.read_text()):
            assert (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](../samples/tls.yaml)", f"[a]({REPOSITORY}/blob/main/samples/tls.yaml)"),
        ("[a](../samples/values/)", f"[a]({REPOSITORY}/tree/main/samples/values)"),
        ("[a](../README.md#try-it)", f"[a]({REPOSITORY}/blob/main/README.md#try-it)"),
        ("[a](../LICENSE)", f"[a]({REPOSITORY}/blob/main/LICENSE)"),
        ("[a](sqs.md)", "[a](sqs.md)"),
    ],
)
def test_a_link_out_of_docs_is_made_whole(link: str, expected: str) -> None:
    assert on_page_markdown(link) == expected


def test_the_site_of_a_version_leads_to_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_REF", "v1.2.3")
    assert on_page_markdown("[a](../LICENSE)") == f"[a]({REPOSITORY}/blob/v1.2.3/LICENSE)"


def test_the_flow_of_a_poll_a_push_and_a_fault_is_drawn(site: Path) -> None:
    drawn = list(blocks((ROOT / "docs" / "how-it-works.md").read_text(), "mermaid"))
    kinds = [block.text.split()[0] for block in drawn]
    assert kinds == ["flowchart", "sequenceDiagram", "sequenceDiagram", "stateDiagram-v2"]
    for block in drawn:
        assert ";" not in block.text, "to mermaid it ends a line"
    page = (site / "how-it-works" / "index.html").read_text()
    assert page.count('<pre class="mermaid">') == len(drawn)
