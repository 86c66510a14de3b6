"""What Artifact Hub shows: Chart.yaml for the chart, artifacthub-pkg.yml for the KEDA scaler; version and text from one source."""

import tomllib
from typing import Any

import yaml

from tools.release import REPOSITORY, ROOT, Section, sections

_IMAGE = "ghcr.io/keda-queue-scaler/keda-queue-scaler"
_CHART = "oci://ghcr.io/keda-queue-scaler/charts/keda-queue-scaler"
_ICON = "https://raw.githubusercontent.com/keda-queue-scaler/keda-queue-scaler/main/docs/images/icon.svg"
_SITE = "https://keda-queue-scaler.github.io/keda-queue-scaler/latest/"
_KEDA = "https://artifacthub.io/packages/helm/kedacore/keda"
_HEAD = "# Generated from pyproject.toml and CHANGELOG.md by `python -m tools`; not to be edited.\n"
_LINKS = {
    "Documentation": _SITE,
    "Samples": f"{REPOSITORY}/tree/main/samples",
    "Verify what you install": f"{REPOSITORY}/blob/main/docs/verify.md",
    "Support": f"{REPOSITORY}/issues",
}


_README = f"""\
A KEDA external scaler that wakes workloads from zero in well under a second, lets them sleep without losing work, and
reports an error, never 0, when a backend is down.

| source | scales on |
|---|---|
| [`sqs`]({_SITE}sqs/) | the backlog of one queue, a list of queues or a name prefix |
| [`sidekiq`]({_SITE}sidekiq/) | the share of busy threads, waiting jobs, latency, read straight from Redis |
| [`workqueue`]({_SITE}metadata/#workqueue) | the work queues of any controller-runtime or client-go controller |
| [`argocd`]({_SITE}argocd/) | pending requests of the repo-server; shards worth running |
| [`flux`]({_SITE}flux/) | objects with work pending, so that a shard can sleep at zero |

[Install]({_SITE}install/), [how it works]({_SITE}how-it-works/), [why did it not scale]({_SITE}troubleshooting/).
"""


def chart() -> str:
    """Return the chart's Chart.yaml."""
    project, newest = _project(), _newest()
    version = project["version"]
    annotations = {
        "artifacthub.io/category": "monitoring-logging",
        "artifacthub.io/license": project["license"],
        "artifacthub.io/images": _text(
            [{"name": "scaler", "image": f"{_IMAGE}:{version}", "platforms": ["linux/amd64", "linux/arm64"]}]
        ),
        "artifacthub.io/links": _text([{"name": name, "url": url} for name, url in _LINKS.items()]),
        "artifacthub.io/recommendations": _text([{"url": _KEDA}]),
        "artifacthub.io/changes": _text(_changes(newest)),
        "artifacthub.io/containsSecurityUpdates": str(_secures(newest)).lower(),
        "artifacthub.io/prerelease": str("-" in version).lower(),
    }
    head = {
        "apiVersion": "v2",
        "name": project["name"],
        "description": project["description"],
        "type": "application",
        "version": version,
        "appVersion": version,
    }
    rest = {
        "home": REPOSITORY,
        "icon": _ICON,
        "sources": [REPOSITORY],
        "maintainers": [{"name": _maintainers(project), "url": REPOSITORY}],
        "keywords": project["keywords"],
        "annotations": annotations,
    }
    oldest = (
        "# 1.30: the preStop `sleep` and ValidatingAdmissionPolicy; also the oldest that KEDA 2.20 is tested on.\n"
        'kubeVersion: ">=1.30.0-0"\n'
    )
    return _HEAD + _text(head) + oldest + _text(rest)


def package() -> str:
    """Return artifacthub-pkg.yml, by which Artifact Hub lists the project among KEDA's scalers."""
    project, newest = _project(), _newest()
    install = f"""\
```sh
helm install keda-queue-scaler {_CHART} --version {project["version"]} --namespace keda
```

Needs KEDA in namespace `keda`; [install]({REPOSITORY}/blob/main/docs/install.md) tells the rest.
"""
    return _HEAD + _text(
        {
            "version": project["version"],
            "name": project["name"],
            "displayName": "Queue scaler: SQS, Sidekiq, Argo CD, Flux",
            "createdAt": f"{newest.date or _first_day()}T00:00:00Z",
            "category": "monitoring-logging",
            "description": project["description"],
            "logoURL": _ICON,
            "license": project["license"],
            "homeURL": REPOSITORY,
            "appVersion": project["version"],
            "containersImages": [
                {
                    "name": "scaler",
                    "image": f"{_IMAGE}:{project['version']}",
                    "platforms": ["linux/amd64", "linux/arm64"],
                }
            ],
            "containsSecurityUpdates": _secures(newest),
            "keywords": project["keywords"],
            "links": [{"name": name, "url": url} for name, url in _LINKS.items()],
            "readme": _README,
            "install": install,
            "changes": _changes(newest),
            "provider": {"name": _maintainers(project)},
            "recommendations": [{"url": _KEDA}],
            "screenshots": [
                {"title": "The status page", "url": _ICON.replace("icon.svg", "status-page.png")},
            ],
        }
    )


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _maintainers(project: dict[str, Any]) -> str:
    return str(project["authors"][0]["name"])


def _newest() -> Section:
    return sections((ROOT / "CHANGELOG.md").read_text())[0]


def _first_day() -> str:
    return "2026-11-28"  # until a version has its date


def _changes(section: Section) -> list[dict[str, str]]:
    return [{"kind": kind, "description": text} for kind, text in section.changes]


def _secures(section: Section) -> bool:
    return any(kind == "security" for kind, _ in section.changes)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _text(data: Any) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
