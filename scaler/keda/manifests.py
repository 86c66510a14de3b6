"""Reads ScaledObjects and ScaledJobs from YAML, and knows on which line of the file everything stands."""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from scaler.core.errors import ScalerError
from scaler.keda import scalable
from scaler.keda.jobs import running_share
from scaler.keda.scalable import ScaledJob, ScaledObject, ScalingStrategy
from scaler.keda.yaml_lines import Document, Path, documents

_API_VERSION = "keda.sh/v1alpha1"
_KINDS: dict[str, type[ScaledObject | ScaledJob]] = {"ScaledObject": ScaledObject, "ScaledJob": ScaledJob}
_ADAPTERS: dict[str, TypeAdapter[ScaledObject | ScaledJob]] = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}
_ANNOTATION = "autoscaling.keda.sh/"
_PAUSED, _PAUSED_REPLICAS = f"{_ANNOTATION}paused", f"{_ANNOTATION}paused-replicas"
_FLAGS = {
    _PAUSED: scalable.PAUSED,
    f"{_ANNOTATION}paused-scale-in": scalable.PAUSED_SCALE_IN,
    f"{_ANNOTATION}paused-scale-out": scalable.PAUSED_SCALE_OUT,
    f"{_ANNOTATION}force-activation": scalable.FORCED,
}


class ManifestError(ScalerError):
    """A manifest cannot be read; the text begins with `FILE:LINE:` and says what is wrong there."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a manifest that KEDA or the API server would refuse or ignore; `str` is `FILE:LINE: key: problem`."""

    file: str
    line: int
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a file holds, in its order."""

    objects: tuple[ScaledObject | ScaledJob, ...]
    findings: tuple[Finding, ...]


def parse(text: str, file: str = "-") -> Manifests:
    """Read every ScaledObject and ScaledJob in `text`; other kinds are passed over, a `List` is opened.

    A finding does not keep an object from being read; what cannot be read at all raises `ManifestError`.
    """
    objects: list[ScaledObject | ScaledJob] = []
    findings: list[Finding] = []
    for document in _documents(text, file):
        for path, data in _scalables(document.data, ()):
            reader = _Reader(file, document, path, data)
            objects.append(reader.read())
            findings += sorted(reader.findings, key=lambda finding: finding.line)
    return Manifests(tuple(objects), tuple(findings))


def _documents(text: str, file: str) -> list[Document]:
    try:
        return list(documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ManifestError(f"{file}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ManifestError(f"{file}:{line}: not YAML: {error.reason}") from None
    except RecursionError:
        raise ManifestError(f"{file}:1: nested too deeply") from None


def _scalables(data: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the objects of our kinds in a document, with the path that leads to them."""
    if not isinstance(data, dict):
        return
    kind, items = data.get("kind"), data.get("items")
    if kind in _KINDS:
        yield path, data
    elif isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _scalables(item, (*path, "items", index))


class _Reader:
    """Reads one object, and collects what KEDA or the API server would not take."""

    def __init__(self, file: str, document: Document, path: Path, data: dict[str, Any]) -> None:
        self.findings: list[Finding] = []
        self._file, self._document, self._path, self._data = file, document, path, data

    def read(self) -> ScaledObject | ScaledJob:
        if self._data.get("apiVersion") != _API_VERSION:
            raise self._error(("apiVersion",), f"must be {_API_VERSION}")
        kind: str = self._data["kind"]
        values = self._plain(("spec",), self._mapping("spec"))
        for index, trigger in enumerate(values["triggers"] if isinstance(values.get("triggers"), list) else ()):
            if isinstance(trigger, dict):
                self._add_lines(("spec", "triggers", index), trigger)
        values = {key: value for key, value in values.items() if key not in _KINDS[kind].unread}
        values |= {scalable.FILE: self._file, scalable.LINE: self._line(()), **self._names(), **self._annotations(kind)}
        result = self._validated(kind, values)
        for path, problem in _refusals(result):
            self._find(path, problem)
        return result

    def _names(self) -> dict[str, str]:
        metadata = {"namespace": "default"} | self._plain(("metadata",), self._mapping("metadata"))
        names = {}
        for key, ours in (("name", scalable.NAME), ("namespace", scalable.NAMESPACE)):
            names[ours] = metadata.get(key)
            if not isinstance(names[ours], str) or not names[ours]:
                raise self._error(("metadata", key), "must be a name")
        return names

    def _annotations(self, kind: str) -> dict[str, Any]:
        """Return what the annotations say that hold or move replicas (KEDA apis/keda/v1alpha1, getBoolAnnotation)."""
        path = ("metadata", "annotations")
        annotations = self._mapping("metadata").get("annotations")
        texts = self._texts(path, annotations) if isinstance(annotations, dict) else {}
        texts = {key: text for key, text in texts.items() if key.startswith(_ANNOTATION)}
        known = {_PAUSED} if kind == ScaledJob.kind else {*_FLAGS, _PAUSED_REPLICAS}
        for key in sorted(texts.keys() - known):
            self._find((*path, key), f"KEDA 2.20 knows no such annotation of a {kind}{_nearest(key, known)}")
        falsehoods = {"0", "f", "F", "false", "False", "FALSE"}  # Go's ParseBool; KEDA takes anything else for true
        values: dict[str, Any] = {
            ours: texts[key] not in falsehoods for key, ours in _FLAGS.items() if key in texts.keys() & known
        }
        count = texts.get(_PAUSED_REPLICAS)
        if count is not None and kind == ScaledObject.kind:
            if not re.fullmatch("[0-9]{1,9}", count):
                raise self._error((*path, _PAUSED_REPLICAS), "must be a count")
            values |= {scalable.PAUSED: True, scalable.PAUSED_REPLICAS: int(count)}
        return values

    def _plain(self, path: Path, data: Any) -> Any:
        """Return `data` without nulls, which the API server takes for absent; trigger metadata becomes text."""
        if isinstance(data, list):
            return [self._plain((*path, index), item) for index, item in enumerate(data)]
        if not isinstance(data, dict):
            return data
        if path[:2] == ("spec", "triggers") and path[3:] == ("metadata",):
            return self._texts(path, data)
        return {key: self._plain((*path, key), value) for key, value in data.items() if value is not None}

    def _texts(self, path: Path, data: dict[str, Any]) -> dict[str, Any]:
        """Return a mapping of texts, a number or boolean as it is written; each of those is a finding."""
        texts = {}
        for key, value in data.items():
            written = self._document.unquoted.get((*self._path, *path, key))
            if written is not None:
                advice = f'put it in quotes, "{written}"' if value is not None else 'write "" or leave the key out'
                self._find((*path, key), f"must be a string: {advice}")
            if value is not None:
                texts[key] = value if written is None else written
        return texts

    def _add_lines(self, path: Path, trigger: dict[str, Any]) -> None:
        trigger[scalable.LINE] = self._line(path)
        if isinstance(trigger.get("metadata"), dict):
            trigger[scalable.KEY_LINES] = {key: self._line((*path, "metadata", key)) for key in trigger["metadata"]}

    def _validated(self, kind: str, values: dict[str, Any]) -> ScaledObject | ScaledJob:
        """Check `values` as the API server would, which reads JSON; an unknown field is a finding and left out."""
        try:
            return _ADAPTERS[kind].validate_json(json.dumps(values))
        except ValidationError as error:
            errors = error.errors(include_url=False)
        for problem in errors:
            if problem["type"] != "unexpected_keyword_argument":
                raise self._error(("spec", *problem["loc"]), _sentence(problem["msg"]))
        for problem in errors:
            *parents, key = problem["loc"]
            holder: Any = values
            for step in parents:
                holder = holder[step]
            del holder[key]
            self._find(("spec", *problem["loc"]), f"KEDA knows no such field{_nearest(str(key), _fields(kind))}")
        return self._validated(kind, values)

    def _mapping(self, key: str) -> dict[str, Any]:
        value = self._data.get(key)
        if not isinstance(value, dict):
            raise self._error((key,), "must be a mapping")
        return value

    def _line(self, path: Path) -> int:
        return self._document.line((*self._path, *path))

    def _find(self, path: Path, problem: str) -> None:
        self.findings.append(Finding(self._file, self._line(path), _dotted(path), problem))

    def _error(self, path: Path, problem: str) -> ManifestError:
        return ManifestError(f"{self._file}:{self._line(path)}: {_dotted(path)}: {problem}")


def _refusals(manifest: ScaledObject | ScaledJob) -> Iterator[tuple[Path, str]]:
    """Yield what KEDA's admission webhook or reconciler refuses, though the API server takes it.

    Sources: KEDA apis/keda/v1alpha1, CheckReplicaCountBoundsAreValid and ValidateTriggers; pkg/scalers/scaler.go,
    GetMetricTargetType; controllers/keda/scaledjob_controller.go.
    """
    least, most = manifest.min_replica_count, manifest.max_replica_count
    if least > most:
        yield ("spec", "minReplicaCount"), f"{least} is above maxReplicaCount {most}"
    idle = manifest.idle_replica_count if isinstance(manifest, ScaledObject) else None
    if idle is not None and idle >= least:
        yield ("spec", "idleReplicaCount"), f"must be below minReplicaCount {least}"
    if isinstance(manifest, ScaledJob):
        yield from _unknown_strategy(manifest.scaling_strategy)
    elif (modifiers := manifest.advanced.scaling_modifiers) and modifiers.formula and modifiers.target_value <= 0:
        yield ("spec", "advanced", "scalingModifiers", "target"), "must be above 0"
    if not manifest.triggers:
        yield ("spec", "triggers"), "needs at least one trigger"
    names = set()
    for index, trigger in enumerate(manifest.triggers):
        path = ("spec", "triggers", index)
        if trigger.name and trigger.name in names:
            yield (*path, "name"), f"{trigger.name} is the name of another trigger"
        names.add(trigger.name)
        if trigger.metric_type == "Utilization" and trigger.type not in {"cpu", "memory"}:
            yield (*path, "metricType"), "must be AverageValue or Value; Utilization is for cpu and memory"
        elif trigger.metric_type is not None and isinstance(manifest, ScaledJob):
            yield (*path, "metricType"), "is not allowed in a ScaledJob"


def _unknown_strategy(strategy: ScalingStrategy) -> Iterator[tuple[Path, str]]:
    """Yield what KEDA reads in a scalingStrategy without a word, and does otherwise (scale_jobs.go, metrics.go)."""
    path = ("spec", "scalingStrategy")
    if strategy.strategy not in {"", "default", "custom", "accurate", "eager"}:
        yield (*path, "strategy"), "KEDA takes it for default; it knows default, custom, accurate and eager"
    if strategy.strategy == "custom" and running_share(strategy) is None:
        yield (*path, "customScalingRunningJobPercentage"), 'must be a number such as "0.5", or KEDA goes by default'
    if strategy.multiple_scalers_calculation not in {"", "max", "min", "avg", "sum"}:
        yield (*path, "multipleScalersCalculation"), "KEDA takes it for max; it knows max, min, avg and sum"


def _nearest(key: str, known: set[str]) -> str:
    """Return "; did you mean …?" if one of `known` looks like `key`."""
    nearest = difflib.get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _fields(kind: str) -> set[str]:
    """Return the names of all fields that objects of `kind` have, at any depth."""
    schema = _ADAPTERS[kind].json_schema()
    parts = (schema, *schema["$defs"].values())
    return {name for part in parts for name in part.get("properties", ())} | _KINDS[kind].unread


def _dotted(path: Path) -> str:
    """Write a path as kubectl does: `spec.triggers[0].metadata.queueLength`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _sentence(message: str) -> str:
    """Turn pydantic's "Input should be …" into this program's "must be …"."""
    message = re.sub("^[A-Z][a-z]+ should", "must", message.removeprefix("Value error, "))
    return "is required" if message == "Field required" else message
