"""Few lines that stand for much: refused in seconds, with little memory, and with the line that does it."""

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler import cli
from scaler.keda import yaml_lines
from scaler.keda.manifests import survey
from scaler.keda.yaml_lines import documents
from scaler.keda.yaml_nodes import Document

HEAD = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\n"
SECONDS = 60
"""Many times what it takes on an idle machine; without the limits, most of these never end."""
VALUES = 25_000
"""Allowed instead of the 250,000 of `MAX_VALUES`: the time and the memory of most bombs grow with it."""
MEMORY = 40 * 2**20
"""For so many values; besides, the text and what is made of it."""


def laughs(open_: str, close: str, key: Callable[[int], str]) -> str:
    levels = "".join(
        f"a{level}: &a{level} {open_}{','.join(f'{key(part)}*a{level - 1}' for part in range(9))}{close}\n"
        for level in range(1, 40)
    )
    return f"{HEAD}a0: &a0 {open_}{close}\n{levels}spec: *a39\n"


def merges() -> str:
    first = ",".join(f"k{number}: 1" for number in range(100))
    more = "".join(f"m{level}: &m{level}\n  <<: [{','.join([f'*m{level - 1}'] * 50)}]\n" for level in range(1, 50))
    return f"{HEAD}m0: &m0 {{{first}}}\n{more}"


BOMBS: dict[str, tuple[Callable[[], str], str]] = {
    "laughing lists": (lambda: laughs("[", "]", lambda _: ""), "aliases make it more than 25,000 values"),
    "laughing maps": (lambda: laughs("{", "}", "k{}: ".format), "aliases make it more than 25,000 values"),
    "merges of merges": (merges, "merges take over more than 25,000 values"),
    "one long merge": (
        lambda: f"{HEAD}m: &m {{{','.join(f'k{n}: 1' for n in range(1_000))}}}\nn: {{<<: [{'*m,' * 10_000}]}}",
        "more than 25,000 values",
    ),
    "deep flow": (lambda: f"{HEAD}spec: {'[' * 1_000_000}", "nested deeper than 100 levels"),
    "deep flow maps": (lambda: f"{HEAD}spec: {'{a: ' * 1_000_000}", "nested deeper than 100 levels"),
    "deep dashes": (lambda: f"{HEAD}spec:\n {'- ' * 1_000_000}", "nested deeper than 100 levels"),
    "deep blocks": (lambda: HEAD + "".join(" " * level + "a:\n" for level in range(3_000)), "deeper than 100 levels"),
    "deep by aliases": (
        lambda: f"{HEAD}a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200)),
        "nested deeper than 100 levels by aliases",
    ),
    "its own part": (lambda: f"{HEAD}spec: &a {{b: [*a]}}", "nested without end"),
    "wide flow": (lambda: f"{HEAD}spec: [{'a,' * 800_000}]", "more than 25,000 values in one file"),
    "many keys": (
        lambda: f"{HEAD}spec: {{{','.join(f'k{n}: 1' for n in range(30_000))}}}",
        "more than 25,000 values in one file",
    ),
    "many documents": (lambda: "---\n" * 400_000, "more than 25,000 values in one file"),
    "many broken documents": (lambda: "--- [\n" * 2_000_000, "more than 100 documents are not YAML"),
    "long text by aliases": (
        lambda: f"{HEAD}s: &s {'a' * 10_000_000}\nspec: [{'*s,' * 1_000}]",
        "aliases make it more than 33,554,432 characters",
    ),
    "long number": (lambda: f"{HEAD}spec: {{minReplicaCount: {'9' * 10_000_000}}}", "a number with more than 100"),
    "long text": (lambda: f"{HEAD}spec: {'a' * 15_000_000}", "spec: must be a mapping"),
    "long folded text": (lambda: f"{HEAD}spec: >\n{' a' * 10 + chr(10)}" + " a\n\n" * 3_000_000, "spec: must be"),
    "long name": (
        lambda: f"{HEAD.replace('name: a', 'name: ' + 'a' * 10_000_000)}spec: {{}}",
        "at most 253 characters",
    ),
    "many wrong triggers": (
        lambda: f"{HEAD}spec:\n  scaleTargetRef: {{name: a}}\n  triggers:\n" + "  - {a: 1}\n" * 5_000,
        "is required",
    ),
}


MEASURED = {"laughing lists", "laughing maps", "merges of merges", "deep flow", "wide flow", "long text by aliases"}
"""Those whose memory is measured, which makes them several times slower."""


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_lines, "MAX_VALUES", VALUES)
    make, said = BOMBS[name]
    text = make()
    if name in MEASURED:
        tracemalloc.start()
    found = survey(text, "bomb.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    told = list(map(str, (*found.unreadable, *found.refusals)))
    assert any(said in line for line in told), told[:3]
    assert all(len(line) < 1_000 for line in told)
    assert peak < MEMORY + 4 * len(text)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("command", [["validate"], ["explain"], ["migrate"], ["simulate", "--trace", "/dev/null"]])
def test_every_command_that_reads_yaml_is_bounded(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scaler", *command, "-"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(laughs("[", "]", lambda _: "")))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "-:10: aliases make it more than 250,000 values" in said
    assert "Traceback" not in said


def test_an_endless_file_is_too_large() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scaler", "validate", "/dev/zero"],
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "/dev/zero:1: larger than 16 MiB\n")


def test_a_large_list_of_a_cluster_is_read() -> None:
    """What `kubectl get scaledobject -A -o yaml` prints for a thousand of them."""
    one = (
        "- apiVersion: keda.sh/v1alpha1\n  kind: ScaledObject\n  metadata: {name: a}\n  spec:\n    scaleTargetRef: {name: a}\n"
        "    triggers:\n" + "    - {type: cron, metadata: {start: 0 8 * * *, end: 0 9 * * *, timezone: UTC}}\n" * 4
        + "  status: {conditions: [{a: b, c: d, e: f}, {a: b, c: d, e: f}, {a: b, c: d, e: f}]}\n"
    )  # fmt: skip
    found = survey("apiVersion: v1\nkind: List\nitems:\n" + one * 1_000)
    assert (len(found.objects), found.unreadable) == (1_000, ())


def test_a_broken_document_hides_no_other() -> None:
    text = f"{HEAD}spec: [\n---\n%\n--- # again\n{HEAD}spec: 5\n---\n{HEAD.replace('name: a', 'name: [')}---\n{HEAD}spec: {{}}\n"
    found = survey(text)
    assert [finding.line for finding in found.unreadable] == [5, 6, 15]
    assert {(finding.line, finding.key) for finding in found.refusals} >= {(11, "spec")}


@given(
    st.lists(
        st.sampled_from(["a: 1", "- b", "[c, {d: e}]", "|\n  f\n\n  g", '"h\\n"', "&x i", "null", "é: 😀"]), max_size=6
    )
)
def test_every_place_is_where_the_text_is(parts: list[str]) -> None:
    text = "".join(f"--- {part}\n" if part[0] in '|"[&' else f"---\n{part}\n" for part in parts)
    read = list(documents(text))
    assert len(read) == len(parts)
    for document in read:
        assert isinstance(document, Document)
        assert text[: document.root.start].count("\n") + 1 == document.root.line
        (alone,) = documents(text[document.root.start : document.root.end])
        assert isinstance(alone, Document)
        assert alone.data == document.data
