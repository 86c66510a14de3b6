"""Every command that the pages show exists with its options, and what can run here runs."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from scaler.cli import app, main
from tools import binaries
from tools.markdown import Block, blocks

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "samples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
CHART = ROOT / "charts" / "keda-queue-scaler"
SHELL = [
    pytest.param(block, id=f"{page.name}:{block.line}")
    for page in PAGES
    for language in ("sh", "console")
    for block in blocks(page.read_text(), language)
]


def commands(block: Block) -> Iterator[tuple[str, ...]]:
    """Yield the commands of a block as words; the later ones of a pipe are commands of their own."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "|" in words:
            yield tuple(words[: words.index("|")])
            words = words[words.index("|") + 1 :]
        if words:
            yield tuple(word for word in words if word != "&")


SHOWN = [
    pytest.param(command, id=f"{page.name}:{block.line}: {' '.join(command)[:60]}")
    for page in PAGES
    for language in ("sh", "console")
    for block in blocks(page.read_text(), language)
    for command in commands(block)
]
ELSEWHERE = {
    "argocd",
    "aws",
    "base64",
    "cosign",
    "curl",
    "docker",
    "gh",
    "git",
    "grep",
    "jq",
    "kind",
    "kubectl",
    "open",
    "pip",
    "pypi-attestations",
}
"""Programs of others, which the tests do not have, or not with what these commands ask."""


def of_program(name: str) -> list[Any]:
    return [param for param in SHOWN if param.values[0][0] == name]


@pytest.mark.parametrize("block", SHELL)
def test_bash_reads_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", SHOWN)
def test_the_program_is_known(command: tuple[str, ...]) -> None:
    program = command[0]
    assert program in ELSEWHERE | {"scaler", "helm", "make", "python"} or re.fullmatch(r"[A-Z_]+=.*", program), program


def of_plugin() -> list[Any]:
    """Return what is shown as kubectl's plugin."""
    return [param for param in of_program("kubectl") if param.values[0][1:2] == ("queue-scaler",)]


@pytest.mark.parametrize("command", of_plugin())
def test_the_plugin_has_these_options(command: tuple[str, ...]) -> None:
    test_the_command_has_these_options(command[1:])


@pytest.mark.parametrize("command", of_program("scaler"))
def test_the_command_has_these_options(command: tuple[str, ...]) -> None:
    group = typer.main.get_command(app)
    name, *words = command[1:]
    if name.startswith("-"):
        name, words = "", [name, *words]
    found = group if not name else group.commands[name]  # type: ignore[attr-defined]  # it is a group
    context = typer.Context(found, info_name=name)
    found.make_parser(context).parse_args(list(words))  # raises for an option that there is not


@pytest.mark.parametrize("command", [param for param in of_program("kubectl") if param not in of_plugin()])
def test_kubectl_takes_it(command: tuple[str, ...]) -> None:
    kubectl = binaries.binary(binaries.KUBECTL, "kubectl")
    verb = command[3] if command[1] in {"-n", "--namespace"} else command[1]
    ways = [[verb, "--help"], ["options"]]
    told = "".join(subprocess.run([kubectl, *way], capture_output=True, text=True, check=True).stdout for way in ways)
    assert f"kubectl {verb}" in told
    for flag in (word.partition("=")[0] for word in command[1:] if re.match("--?[a-z]", word, re.IGNORECASE)):
        assert re.search(rf"(^|[\s,]){flag}\b", told), f"kubectl {verb} has no {flag}"


@pytest.mark.parametrize("command", of_program("make"))
def test_the_target_is_there(command: tuple[str, ...]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in command[1:] if "=" not in word} <= targets


@pytest.mark.parametrize("command", of_program("python"))
def test_the_module_is_there(command: tuple[str, ...]) -> None:
    assert command[1] == "-m"
    assert importlib.util.find_spec(command[2])


@pytest.mark.parametrize("command", of_program("helm"))
def test_helm_takes_it(command: tuple[str, ...]) -> None:
    helm = binaries.binary(binaries.HELM_4, "helm")
    told = subprocess.run([helm, command[1], "--help"], capture_output=True, text=True, check=True).stdout
    for flag in (word.partition("=")[0] for word in command[2:] if word.startswith("-")):
        assert re.search(rf"(^|[\s,]){flag}\b", told), f"helm {command[1]} has no {flag}"
    if command[1] in {"install", "upgrade", "template"}:
        own = {"--reset-then-reuse-values", "--install", "--wait", "--create-namespace"}
        words = [word for word in command[2:] if word not in own]
        if "--version" in words:
            place = words.index("--version")
            del words[place : place + 2]
        words = [
            re.sub(r"^oci://ghcr\.io/keda-queue-scaler/charts/keda-queue-scaler$", str(CHART), word) for word in words
        ]
        done = subprocess.run([helm, "template", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with the files that the commands speak of."""
    (tmp_path / "k8s").mkdir()
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    (manifest,) = [block for block in blocks((ROOT / "README.md").read_text(), "yaml") if "ScaledObject" in block.text]
    for path in (tmp_path / "scaledobject.yaml", tmp_path / "k8s" / "orders.yaml"):
        path.write_text(manifest.text)
    (tmp_path / "load.csv").write_text("time,arrivals\n0,0\n60,5\n120,0\n600,0\n")
    return tmp_path


def runs_here(command: tuple[str, ...]) -> bool:
    asks_others = {"--address", "--prometheus", "--cloudwatch-queue", "--namespace", "-"}
    return command[1] in {"migrate", "validate", "simulate"} and not asks_others & set(command)


def run_here() -> list[Any]:
    """Return each command that runs here once, however many pages show it; a sweep replays its load a dozen times."""
    found = {param.values[0]: param for param in of_program("scaler") if runs_here(param.values[0])}
    return [
        pytest.param(command, id=param.id, marks=pytest.mark.slow if "--sweep" in command else ())
        for command, param in found.items()
    ]


@pytest.mark.parametrize("command", run_here())
def test_what_needs_nothing_else_runs(
    command: tuple[str, ...], desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setattr(sys, "argv", list(command))
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert not ended.value.code, told.out + told.err


def test_many_commands_are_shown() -> None:
    assert len(of_program("scaler")) >= 8
    assert len(of_program("helm")) >= 8
    assert any(runs_here(param.values[0]) for param in of_program("scaler"))
