"""What else in manifests sets the replicas of a workload: its own field `replicas`, and HorizontalPodAutoscalers."""

from dataclasses import dataclass
from typing import Any

AUTOSCALER = "HorizontalPodAutoscaler"
KINDS = ("Deployment", "StatefulSet", AUTOSCALER)


@dataclass(frozen=True, slots=True)
class Rival:
    """An object that sets the replicas of a workload, which may be itself; `group` is that of the workload's API."""

    kind: str
    name: str
    namespace: str
    group: str
    workload_kind: str
    workload: str
    file: str
    line: int


def rival(data: dict[str, Any], file: str, line: int) -> Rival | None:
    """Parse `data`, an object of one of `KINDS`; None if it does not set the replicas of a workload that it names."""
    metadata, spec = data.get("metadata"), data.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        return None
    target: Any = {**metadata, "kind": data["kind"], "apiVersion": data.get("apiVersion")}
    if data["kind"] == AUTOSCALER:
        target = spec.get("scaleTargetRef")
    elif spec.get("replicas") is None or metadata.get(
        "uid"
    ):  # in an object of the cluster the number is the present one
        return None
    of_target = target if isinstance(target, dict) else {}
    named: list[Any] = [metadata.get("name"), *(of_target.get(key) for key in ("apiVersion", "kind", "name"))]
    if not all(isinstance(text, str) and text for text in named):
        return None
    name, version, kind, workload = named
    namespace = metadata.get("namespace")
    space = namespace if isinstance(namespace, str) and namespace else "default"
    return Rival(data["kind"], name, space, version.partition("/")[0], kind, workload, file, line)
