"""Reads ScaledObjects and ScaledJobs from YAML, with the line of everything for messages."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scaler.keda import scalable
from scaler.keda.authentications import KINDS as AUTHENTICATION_KINDS
from scaler.keda.authentications import Authentication, authentication
from scaler.keda.field_names import dotted, meant, nearest, places
from scaler.keda.findings import Finding, ManifestError, Manifests
from scaler.keda.refusals import refusals
from scaler.keda.rivals import KINDS as RIVAL_KINDS
from scaler.keda.rivals import Rival, rival
from scaler.keda.scalable import ScaledJob, ScaledObject
from scaler.keda.yaml_lines import Broken, documents
from scaler.keda.yaml_nodes import Document, Path

_API_VERSION = "keda.sh/v1alpha1"
_ROOT = {"apiVersion", "kind", "metadata", "spec", "status"}
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
_TRANSFER, _EXCLUDED = "scaledobject.keda.sh/transfer-hpa-ownership", "scaledobject.keda.sh/hpa-excluded-labels"
_UNNAMED = "needs the name of that HPA as spec.advanced.horizontalPodAutoscalerConfig.name"
MAX_NAME = 253
"""Maximum characters of a name in Kubernetes."""
UNKNOWN = "(refused)"
"""Replaces a refused name or type, so that the rest can still be checked."""


def parse(text: str, file: str = "-") -> Manifests:
    """Read every ScaledObject and ScaledJob in `text`, also in a `List`; other kinds are skipped.

    An object with findings is read nevertheless; raises `ManifestError` for what cannot be read at all.
    """
    manifests = survey(text, file)
    worst = sorted((*manifests.refusals, *manifests.unreadable), key=lambda finding: finding.line)
    if worst:
        raise ManifestError(str(worst[0]))
    return manifests


def survey(text: str, file: str = "-") -> Manifests:
    """Read as `parse` does, but everything that can be read, without raising an error."""
    objects: list[ScaledObject | ScaledJob] = []
    authentications: list[Authentication] = []
    rivals: list[Rival | None] = []
    findings: list[Finding] = []
    refusals: list[Finding] = []
    unreadable: list[Finding] = []
    for document in documents(text.removeprefix("\ufeff")):
        if isinstance(document, Broken):
            unreadable.append(Finding(file, document.line, "", document.problem))
            continue
        for path, data in known_objects(document.data, (), RIVAL_KINDS):
            if data["kind"] in RIVAL_KINDS:
                rivals.append(rival(data, file, document.line(path)))
                continue
            if data["kind"] in AUTHENTICATION_KINDS:
                found = authentication(data, file, document.line(path))
                authentications += () if found is None else (found,)
                continue
            reader = _Reader(file, document, path, data)
            scaled = reader.read()
            objects += () if scaled is None else (scaled,)
            findings += sorted(reader.findings, key=lambda finding: finding.line)
            refusals += reader.refusals
    rest = tuple(unreadable), tuple(authentications), tuple(filter(None, rivals))
    return Manifests(tuple(objects), tuple(findings), tuple(refusals), *rest)


def known_objects(data: Any, path: Path, more: tuple[str, ...] = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the ScaledObjects, ScaledJobs, TriggerAuthentications and kinds of `more` in a document, with their paths."""
    if not isinstance(data, dict):
        return
    kind, items = data.get("kind"), data.get("items")
    if not isinstance(kind, str):
        return
    if kind in {*_KINDS, *AUTHENTICATION_KINDS, *more}:
        yield path, data
    elif kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from known_objects(item, (*path, "items", index), more)


class _Refused(Exception):  # noqa: N818 - used inside of the reader only
    """The object cannot be read."""


class _Reader:
    """Reads one object, and collects what KEDA or the API server would refuse."""

    def __init__(self, file: str, document: Document, path: Path, data: dict[str, Any]) -> None:
        self.findings: list[Finding] = []
        self.refusals: list[Finding] = []
        self._left_out: set[Path] = set()  # also their parents, which now may lack something
        self._file, self._document, self._path, self._data = file, document, path, data

    def read(self) -> ScaledObject | ScaledJob | None:
        """Return the object without its refused parts, or None if nothing is left."""
        try:
            return self._read()
        except _Refused:
            return None

    def _read(self) -> ScaledObject | ScaledJob:
        if self._data.get("apiVersion") != _API_VERSION:
            self._refuse(("apiVersion",), f"must be {_API_VERSION}")
        kind: str = self._data["kind"]
        for key in sorted(self._data.keys() - _ROOT):
            self._find((key,), f"KEDA knows no such field{meant((key,), _ADAPTERS[kind])}")
        values = self._plain(("spec",), self._mapping("spec"))
        for index, trigger in enumerate(values["triggers"] if isinstance(values.get("triggers"), list) else ()):
            if isinstance(trigger, dict):
                self._add_lines(("spec", "triggers", index), trigger)
        values = {key: value for key, value in values.items() if key not in _KINDS[kind].unread}
        given, least = dict(values), values.get("minReplicaCount")
        self._job_template(kind)
        if kind == ScaledJob.kind and isinstance(least, int) and least > 0:
            values.setdefault("maxReplicaCount", 100 + least)  # as KEDA: 100 beyond the minimum (scaledjob_types.go)
        values |= {scalable.FILE: self._file, scalable.LINE: self._line(()), **self._names(), **self._annotations(kind)}
        result = self._validated(kind, values)
        for path, problem in refusals(result, given):
            self._find(path, problem)
        if isinstance(result, ScaledObject) and not result.advanced.horizontal_pod_autoscaler_config.name:
            annotations = self._data["metadata"].get("annotations")
            if isinstance(annotations, dict) and annotations.get(_TRANSFER) == "true":
                self._find(("metadata", "annotations", _TRANSFER), _UNNAMED)
        return result

    def _job_template(self, kind: str) -> None:
        """Find a ScaledJob without what KEDA makes its Jobs of; the rest of it is the business of Kubernetes."""
        spec = self._mapping("spec")
        job = spec.get("jobTargetRef")
        if kind != ScaledJob.kind or "scaleTargetRef" in spec:
            return
        if not isinstance(job, dict):
            self._find(("spec", "jobTargetRef"), "must be given: KEDA makes the Jobs of its template")
        elif not isinstance(job.get("template"), dict):
            self._find(("spec", "jobTargetRef", "template"), "must be given: the pods of the Jobs")

    def _names(self) -> dict[str, str]:
        metadata = {"namespace": "default"} | self._plain(("metadata",), self._mapping("metadata"))
        names = {}
        for key, ours in (("name", scalable.NAME), ("namespace", scalable.NAMESPACE)):
            names[ours] = metadata.get(key)
            if not isinstance(names[ours], str) or not names[ours]:
                self._refuse(("metadata", key), "must be a name")
                names[ours] = UNKNOWN
            elif len(names[ours]) > MAX_NAME:
                self._refuse(("metadata", key), f"must be a name of at most {MAX_NAME} characters")
                names[ours] = UNKNOWN
        return names

    def _annotations(self, kind: str) -> dict[str, Any]:
        """Return the annotations that control scaling, parsed (KEDA apis/keda/v1alpha1, getBoolAnnotation)."""
        path = ("metadata", "annotations")
        annotations = self._mapping("metadata").get("annotations")
        texts = self._texts(path, annotations) if isinstance(annotations, dict) else {}
        self._misplaced(texts)
        if texts.get(_TRANSFER, "true") not in {"true", "false"}:
            self._find((*path, _TRANSFER), 'KEDA goes by "true" alone')
        texts = {key: text for key, text in texts.items() if key.startswith(_ANNOTATION)}
        known = {_PAUSED} if kind == ScaledJob.kind else {*_FLAGS, _PAUSED_REPLICAS}
        elsewhere = {f"{_ANNOTATION}{each.rpartition('/')[2]}" for each in (_TRANSFER, _EXCLUDED)}
        for key in sorted(texts.keys() - known - elsewhere):
            self._find((*path, key), f"KEDA 2.20 knows no such annotation of a {kind}{nearest(key, known)}")
        falsehoods = {"0", "f", "F", "false", "False", "FALSE"}  # Go's ParseBool; KEDA takes everything else for true
        values: dict[str, Any] = {
            ours: texts[key] not in falsehoods for key, ours in _FLAGS.items() if key in texts.keys() & known
        }
        count = texts.get(_PAUSED_REPLICAS)
        if count is not None and kind == ScaledObject.kind:
            if not re.fullmatch("[0-9]{1,9}", count):
                self._refuse((*path, _PAUSED_REPLICAS), "must be a count")
                count = "0"
            values |= {scalable.PAUSED: True, scalable.PAUSED_REPLICAS: int(count)}
        return values

    def _misplaced(self, annotations: Iterable[str]) -> None:
        """Find what has the name of an annotation of KEDA, but another prefix or a place among the labels."""
        right = {each.rpartition("/")[2]: each for each in (*_FLAGS, _PAUSED_REPLICAS, _TRANSFER, _EXCLUDED)}
        for key in annotations:
            prefix, _, name = key.rpartition("/")
            if key != right.get(name, key) and (not prefix or "keda" in prefix):
                self._find(("metadata", "annotations", key), f"KEDA passes over it; did you mean {right[name]}?")
        labels = self._mapping("metadata").get("labels")
        for key in labels if isinstance(labels, dict) else ():
            if str(key).startswith(_ANNOTATION):
                self._find(("metadata", "labels", key), "KEDA passes over it as a label; write it under annotations")

    def _plain(self, path: Path, data: Any) -> Any:
        """Return `data` without nulls, which the API server treats as missing; trigger metadata becomes text."""
        if isinstance(data, list):
            return [self._plain((*path, index), item) for index, item in enumerate(data)]
        if not isinstance(data, dict):
            return data
        if path[:2] == ("spec", "triggers") and path[3:] == ("metadata",):
            return self._texts(path, data)
        return {key: self._plain((*path, key), value) for key, value in data.items() if value is not None}

    def _texts(self, path: Path, data: dict[str, Any]) -> dict[str, Any]:
        """Return `data` with all values as text, as written, lists and maps as JSON; whatever is no text is a finding."""
        texts = {}
        for key, value in data.items():
            written = self._document.unquoted((*self._path, *path, key))
            if written is not None:
                advice = (
                    f'put it in quotes, "{written}"' if value is not None else "write a value, or leave the key out"
                )
                self._find((*path, key), f"must be a string: {advice}")
            elif isinstance(value, list | dict):
                self._find((*path, key), f"must be a string, and is a {'list' if isinstance(value, list) else 'map'}")
                written = json.dumps(value, default=str, skipkeys=True)
            if value is not None:
                texts[key] = value if written is None else written
        return texts

    def _add_lines(self, path: Path, trigger: dict[str, Any]) -> None:
        trigger[scalable.LINE] = self._line(path)
        if isinstance(trigger.get("metadata"), dict):
            trigger[scalable.KEY_LINES] = {key: self._line((*path, "metadata", key)) for key in trigger["metadata"]}

    def _validated(self, kind: str, values: dict[str, Any]) -> ScaledObject | ScaledJob:
        """Validate `values` like the API server; an unknown field is a finding and left out."""
        try:
            return _ADAPTERS[kind].validate_json(json.dumps(values))
        except ValidationError as error:
            errors = error.errors(include_url=False)
        wrong = [problem for problem in errors if problem["type"] != "unexpected_keyword_argument"]
        for problem in wrong:
            loc = problem["loc"]
            if loc not in self._left_out:
                self._refuse(("spec", *loc), _sentence(problem["msg"]))
            self._left_out.update(loc[:length] for length in range(1, len(loc) + 1))
            _leave_out(values, problem["loc"], missing=problem["type"] == "missing")
        for problem in errors if not wrong else ():
            *parents, key = problem["loc"]
            holder: Any = values
            for step in parents:
                holder = holder[step]
            del holder[key]
            self._find(("spec", *problem["loc"]), f"KEDA knows no such field{meant(problem['loc'], _ADAPTERS[kind])}")
        return self._validated(kind, values)

    def _mapping(self, key: str) -> dict[str, Any]:
        value = self._data.get(key)
        if not isinstance(value, dict):
            self._refuse((key,), "must be a mapping")
            raise _Refused
        return value

    def _line(self, path: Path) -> int:
        return self._document.line((*self._path, *path))

    def _find(self, path: Path, problem: str) -> None:
        self.findings.append(Finding(self._file, self._line(path), dotted(path), problem))

    def _refuse(self, path: Path, problem: str) -> None:
        self.refusals.append(Finding(self._file, self._line(path), dotted(path), problem))


def _leave_out(values: dict[str, Any], path: tuple[Any, ...], *, missing: bool) -> None:
    """Remove the wrong value at `path` from `values`, or the parent of a missing one; triggers keep their index.

    Raises `_Refused` if nothing can be left out.
    """
    target = path[:-1] if missing else path
    if target[:1] == ("triggers",) and len(target) == 2:
        values["triggers"][target[1]] = {"type": UNKNOWN, "metadata": {}}
        return
    while target and not isinstance(target[-1], str):
        target = target[:-1]
    if not target or target == ("triggers",):
        if path != ("scaleTargetRef",):
            raise _Refused
        values["scaleTargetRef"] = {"name": UNKNOWN}
        return
    holder: Any = values
    for step in target[:-1]:
        holder = holder[step] if isinstance(holder, dict | list) else {}
    if isinstance(holder, dict):
        holder.pop(target[-1], None)  # may already be removed because of another error


def fields_of(kind: str) -> set[str]:
    """Return the names of all fields that objects of `kind` (`ScaledObject` or `ScaledJob`) have, at any depth."""
    return set(places(_ADAPTERS[kind]))


def _sentence(message: str) -> str:
    """Turn pydantic's "Input should be …" into this program's "must be …"."""
    message = re.sub("^[A-Z][a-z]+ should", "must", message.removeprefix("Value error, "))
    return "is required" if message == "Field required" else message
