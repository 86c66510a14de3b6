"""Every text that the project tells somebody: messages of the program and of the chart, alerts, comments, pages."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tools.markdown import prose_and_code

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "keda-queue-scaler"
PAGES = (ROOT / "README.md", ROOT / "samples" / "README.md", *sorted((ROOT / "docs").glob("*.md")))


@dataclass(frozen=True, slots=True)
class Said:
    """One text; `where` is file and line, `file` its path from the root. What is filled in stands as `{}`."""

    file: str
    line: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


def messages() -> Iterator[Said]:
    """Yield the texts of the program: literals with a blank that are no docstring, joined as Python joins them."""
    for path in sorted((ROOT / "scaler").rglob("*.py")):
        if path.parent.name in {"pb", "demo"}:
            continue
        tree = ast.parse(path.read_text())
        passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if id(node) in passed:
                continue
            text = ""
            if isinstance(node, ast.JoinedStr):
                passed |= {id(part) for part in ast.walk(node)}
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            if " " in text or ".md" in text:
                yield Said(str(path.relative_to(ROOT)), node.lineno, text)


def chart_texts() -> Iterator[Said]:
    """Yield what the chart refuses with, its notes, the comments on values and samples, the annotations of alerts."""
    templates = CHART / "templates"
    for line in _lines(*templates.glob("*.tpl"), *templates.glob("*.yaml")):
        if re.search(r"\b(fail|required)\b", line.text):
            for text in re.findall(r'"((?:[^"\\]|\\.)* (?:[^"\\]|\\.)*)"', line.text):
                yield replace(line, text=re.sub("%[a-z]", "{}", text))
    for line in _lines(templates / "NOTES.txt"):
        yield replace(line, text=re.sub("{{.*?}}", "{}", line.text))
    for line in _lines(CHART / "values.yaml", *(ROOT / "samples").rglob("*.yaml")):
        if match := re.search(r"(?:^|\s)# (.*)", line.text):
            yield replace(line, text=match[1])
    for line in _lines(CHART / "files" / "alerts.yaml"):
        if re.match(r"\s*(summary|description|runbook_url): ", line.text):
            yield replace(line, text=re.sub("{{.*?}}", "{}", line.text))


def _lines(*paths: Path) -> Iterator[Said]:
    for path in sorted(paths):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield Said(str(path.relative_to(ROOT)), number, line)


def page_texts() -> Iterator[Said]:
    """Yield the lines of the pages without their fenced blocks."""
    for page in PAGES:
        for number, line in enumerate(prose_and_code(page.read_text()).splitlines(), 1):
            if line.strip():
                yield Said(str(page.relative_to(ROOT)), number, line)
