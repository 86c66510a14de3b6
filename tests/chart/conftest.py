"""The chart rendered by real helm binaries: each set of values once for the whole session."""

import functools
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import binaries

CHART = Path(__file__).parents[2] / "charts" / "keda-queue-scaler"


class Rendered(list[dict[str, Any]]):
    """The objects of a chart."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self if each["kind"] == kind]

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        (found,) = [each for each in self.of(kind) if name in {"", each["metadata"]["name"]}]
        return found

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self.one("ConfigMap", "keda-queue-scaler")["data"]["config.yaml"])
        return config


class Chart:
    """Helm on the chart, as release `keda-queue-scaler` in namespace `scaling`."""

    path = CHART

    def render(self, values: dict[str, Any] | None = None, helm: str = binaries.HELM_4, *flags: str) -> Rendered:
        """Return what `helm install` makes; a release's name and namespace among `flags` win over the usual ones."""
        return Rendered(each for each in self._template(values, helm, *flags) if not hooked(each))

    def hooks(self, values: dict[str, Any] | None = None) -> Rendered:
        """Return what `helm test` makes."""
        return Rendered(each for each in self._template(values, binaries.HELM_4) if hooked(each))

    def _template(self, values: dict[str, Any] | None, helm: str, *flags: str) -> list[dict[str, Any]]:
        code, text = _helm(helm, "template", json.dumps(values or {}), *flags)
        assert code == 0, text
        return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]

    def refusal(self, values: dict[str, Any], helm: str = binaries.HELM_4, *flags: str) -> str:
        code, text = _helm(helm, "template", json.dumps(values), *flags)
        assert code != 0, "the chart takes these values"
        return text

    def notes(self, values: dict[str, Any] | None = None) -> str:
        code, text = _helm(binaries.HELM_4, "install", json.dumps(values or {}), "--dry-run=client")
        assert code == 0, text
        return text.partition("\nNOTES:\n")[2]


Case = tuple[dict[str, Any], str]


def together(cases: Iterable[Case]) -> list[list[Case]]:
    """Put cases that set different values into one list: helm tells all that the schema refuses at once."""
    lists: list[list[Case]] = []
    for case in cases:
        fitting = (each for each in lists if all(case[0].keys().isdisjoint(values) for values, _ in each))
        if (found := next(fitting, None)) is None:
            lists.append(found := [])
        found.append(case)
    return lists


def values_of(cases: Iterable[Case]) -> dict[str, Any]:
    return {key: value for values, _ in cases for key, value in values.items()}


def hooked(manifest: dict[str, Any]) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


@functools.cache
def _helm(package: str, command: str, values: str, *flags: str) -> tuple[int, str]:
    release = () if any(flag.startswith("--name-template") for flag in flags) else ("keda-queue-scaler",)
    done = subprocess.run(
        [binaries.binary(package, "helm"), command, *release, CHART, "--namespace=scaling", "-f-", *flags],
        input=values,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOGC": "off"},  # a quarter of its time would go into collecting garbage of 10 MB
    )
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart()
