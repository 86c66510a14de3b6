"""Reads Sidekiq's queues and variables from manifests of workloads."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from scaler.commands.migrate.model import Workload

KINDS = frozenset({"Deployment", "StatefulSet"})
Name = tuple[str, str, str]
"""Kind, namespace and name."""


def workload(data: Any) -> tuple[Name, Workload] | None:
    """Return the name and the settings of a Deployment or StatefulSet; None for anything else."""
    if not isinstance(data, dict) or data.get("kind") not in KINDS:
        return None
    metadata, spec = data.get("metadata"), data.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    pod = template.get("spec") if isinstance(template, dict) else None
    containers = pod.get("containers") if isinstance(pod, dict) else None
    if not isinstance(metadata, dict) or not isinstance(containers, list):
        return None
    name = (data["kind"], str(metadata.get("namespace") or "default"), str(metadata.get("name")))
    known = [container for container in containers if isinstance(container, dict)]
    queues = tuple(dict.fromkeys(queue for each in known for queue in _queues(each)))
    return name, Workload(queues, frozenset(variable for each in known for variable in _variables(each)))


def _queues(container: dict[str, Any]) -> Iterator[str]:
    """Yield the values of Sidekiq's `-q NAME[,WEIGHT]` and `--queue`, also inside of a shell's command line."""
    words: list[str] = []
    for key in ("command", "args"):
        parts = container.get(key)
        words += [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    if not any("sidekiq" in word for word in words):
        return
    split: list[str] = []
    for word in words:
        try:
            split += shlex.split(word)
        except ValueError:
            return
    for option, value in zip(split, [*split[1:], ""], strict=True):
        joined = re.fullmatch(r"(?:--queue=|-q)(.+)", option)
        given = joined[1] if joined else value if option in {"-q", "--queue"} else ""
        if re.fullmatch(r"[A-Za-z0-9_.-]+(,[0-9]+)?", given):
            yield given.partition(",")[0]


def _variables(container: dict[str, Any]) -> Iterator[str]:
    entries = container.get("env")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield entry["name"]
