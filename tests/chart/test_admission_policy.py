"""The ValidatingAdmissionPolicy, evaluated by Google's CEL: it refuses what the parser refuses, and never more."""

import functools
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from hypothesis import given, settings

from scaler.core.errors import MetadataError
from scaler.sources import SOURCES
from scaler.sources.triggers import parse
from tools.keys import COMMON, Key, keys

ADDRESS = "keda-queue-scaler.scaling.svc.cluster.local:9090"
SAMPLES = Path(__file__).parents[2] / "samples"
ENV = cel.NewEnv(
    variables=dict.fromkeys(("object", "oldObject", "request", "variables"), cel.Type.DYN),
    extensions=[ext_strings.ExtStrings()],
)
EXAMPLES = Path(__file__).parents[1] / "contract" / "examples"
GOOD: dict[str, dict[str, str]] = {
    source: next(iter(runpy.run_path(str(EXAMPLES / f"{source}.py"))["EXAMPLES"].values())) for source in SOURCES
}


class Policy:
    """A rendered policy, as an API server evaluates it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec

    @functools.cached_property
    def programs(self) -> dict[str, Any]:
        parts = (*self.spec["matchConditions"], *self.spec["variables"], *self.spec["validations"])
        texts = [text for part in parts for key, text in part.items() if key in {"expression", "messageExpression"}]
        return {text: ENV.compile(text) for text in texts}

    def refusals(self, triggers: list[Any], old: list[Any] | None = None) -> list[str]:
        """Return what it says about an object with `triggers`, an update of one with `old`."""
        data: dict[str, Any] = {
            "object": {"spec": {"triggers": triggers}},
            "oldObject": {"spec": {"triggers": old}},
            "request": {"operation": "CREATE" if old is None else "UPDATE"},
            "variables": {},
        }
        scope = ENV.Activation(data)
        if not all(self._value(condition["expression"], scope) for condition in self.spec["matchConditions"]):
            return []
        for variable in self.spec["variables"]:
            data["variables"][variable["name"]] = self._value(variable["expression"], ENV.Activation(data))
        scope = ENV.Activation(data)
        return [
            self._value(validation["messageExpression"], scope)
            if "messageExpression" in validation
            else validation["message"]
            for validation in self.spec["validations"]
            if not self._value(validation["expression"], scope)
        ]

    def _value(self, text: str, scope: cel.Activation) -> Any:
        value = self.programs[text].eval(scope)
        assert value.type() != cel.Type.ERROR, f"{text}: {value.value()}"
        return value.plain_value()


@pytest.fixture(scope="module")
def policy(chart: Any) -> Policy:
    return Policy(chart.render({"admissionPolicy": {"enabled": True}}).one("ValidatingAdmissionPolicy")["spec"])


def ours(metadata: dict[str, str], kind: str = "external") -> list[Any]:
    return [{"type": kind, "metadata": {"scalerAddress": ADDRESS, **metadata}}]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_a_good_trigger(policy: Policy, source: str) -> None:
    metadata = {"source": source, **GOOD[source]}
    parse(metadata, "shop")
    assert policy.refusals(ours(metadata)) == []
    assert policy.refusals(ours({**metadata, "enableTLS": "true", "staleSeconds": " 90 ", "settleSeconds": ""})) == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, f"source: required, one of {', '.join(SOURCES)}"),
        ({"source": "sqss"}, f"source: required, one of {', '.join(SOURCES)}"),
        ({"source": "sqs", "queueUrl": "a"}, "queueUrl: unknown key for source sqs; known: source, metricType"),
        (
            {"source": "sqs", "queueURL": "a", "queueLenghtFromEnv": "A"},
            "queueLenghtFromEnv: unknown key for source sqs",
        ),
        ({"source": "sqs", "queueURL": "a", "queueURLFromEnv": "A"}, "given both plain and with FromEnv"),
        (
            {"source": "sqs", "queueURL": "a,,b"},
            "source sqs: queueURL: must be a comma-separated list without empty items",
        ),
        (
            {"source": "sqs", "queueURL": "a", "queueLength": "five"},
            "source sqs: queueLength: must be a whole number, above 0",
        ),
        (
            {"source": "sqs", "queueURL": "a", "queueLength": "0"},
            "source sqs: queueLength: must be a whole number, above 0",
        ),
        ({"source": "sqs", "queueURL": "a", "scaleOnDelayed": "yes"}, "scaleOnDelayed: must be true or false"),
        ({"source": "sidekiq", "redis": "main"}, "source sidekiq: queues: required"),
        ({"source": "sidekiq", "redis": "main", "queues": " "}, "source sidekiq: queues: required"),
        (
            {"source": "sidekiq", "redis": "main", "queues": "a", "busyRatio": "75%"},
            "busyRatio: must be off or a number, 0.001 or more",
        ),
        ({"source": "argocd", "component": "server"}, "component: must be one of repo-server, application-controller"),
        (
            {"source": "flux", "controller": "helm-controller", "metricType": "Utilization"},
            "metricType: must be one of AverageValue, Value",
        ),
        ({"source": "flux", "controller": "helm-controller", "staleSeconds": "1m"}, "staleSeconds: must be a number"),
        (
            {"source": "flux", "controller": "helm-controller", "refreshSeconds": "-0.1"},
            "refreshSeconds: must be a number, 0 or more",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("kind", ["external", "external-push"])
def test_a_mistake_is_named_and_is_one_to_the_parser_too(
    policy: Policy, metadata: dict[str, str], message: str, kind: str
) -> None:
    (told,) = policy.refusals(ours(metadata, kind))
    assert message in told
    resolved = {key: "b" if key.endswith("FromEnv") else value for key, value in metadata.items()}
    with pytest.raises(MetadataError):
        parse(resolved, "shop")


@pytest.mark.parametrize(
    "host",
    [
        "keda-queue-scaler.scaling",
        "keda-queue-scaler.scaling.svc",
        "dns:///keda-queue-scaler.scaling.svc.cluster.local.",
    ],
)
def test_it_knows_the_service_by_every_name(policy: Policy, host: str) -> None:
    assert policy.refusals(ours({"scalerAddress": f"{host}:9090", "source": "x"}))


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "external", "metadata": {"scalerAddress": "other.scaling.svc:9090", "source": "x"}},
        {"type": "external", "metadata": {"scalerAddress": "keda-queue-scaler.scaling2:9090", "source": "x"}},
        {"type": "external", "metadata": {"scalerAddress": "keda-queue-scaler:9090", "source": "x"}},
        {"type": "external", "metadata": {"source": "x"}},
        {"type": "external"},
        {"type": "cron", "metadata": {"scalerAddress": ADDRESS}},
    ],
    ids=["another scaler", "another namespace", "no namespace", "no address", "no metadata", "another type"],
)
def test_the_triggers_of_others_are_not_its_business(policy: Policy, trigger: Any) -> None:
    assert policy.refusals([trigger]) == []


def test_the_bare_name_counts_beside_keda(chart: Any) -> None:
    values = {"admissionPolicy": {"enabled": True}, "keda": {"namespace": "scaling"}}
    beside = Policy(chart.render(values).one("ValidatingAdmissionPolicy")["spec"])
    assert beside.refusals(ours({"scalerAddress": "keda-queue-scaler:9090", "source": "x"}))
    assert not beside.refusals(ours({"scalerAddress": "keda-queue-scalers:9090", "source": "x"}))


def test_what_was_wrong_before_may_still_be_changed_elsewhere(policy: Policy) -> None:
    wrong = ours({"source": "x"})
    assert policy.refusals(wrong, old=wrong) == []
    assert policy.refusals(wrong, old=ours({"source": "y"}))


def test_every_sample_passes(policy: Policy) -> None:
    seen = 0
    for path in SAMPLES.glob("*.yaml"):
        for manifest in yaml.safe_load_all(path.read_text()):
            if manifest["kind"] in {"ScaledObject", "ScaledJob"}:
                triggers = manifest["spec"]["triggers"]
                for trigger in triggers:
                    trigger["metadata"]["scalerAddress"] = ADDRESS
                seen += len(triggers)
                assert policy.refusals(triggers) == [], path.name
    assert seen > 15


def test_one_wrong_trigger_among_good_ones_is_found(policy: Policy) -> None:
    good = ours({"source": "argocd", **GOOD["argocd"]})
    (told,) = policy.refusals([*good, *ours({"source": "argocd", "component": "server"}), *good])
    assert "component" in told


TEXTS = [
    *("", " ", "true", "false", "True", " true ", "yes", "a", "a,b", " a , b ", "a,", ",", ",a"),
    *("0", "1", "-1", "+5", "05", "0.1", "0.09", "0.5", ".5", "5.", ".", "1e3", "1E-2", "e3", "+", "nan", "inf"),
    *("0x10", "0.001", "0.0001"),
    *("64", "65", "65535", "65536", "3600", "3601", "86400", "86401", "1e12", "1e13", "10001", "16", "17"),
    *("9223372036854775807", "99999999999999999999"),
    *("1 ", "AverageValue", "Value", "legacy", "round-robin", "max", "secrets", "repo-server", "helm-controller"),
]


def changed() -> Iterator[tuple[Key, dict[str, str], str]]:
    """Yield a good trigger of every source with each key set to each text, and what the parser says to it."""
    for source, good in GOOD.items():
        for key in keys(SOURCES[source].trigger):
            for text in TEXTS if key.name != "source" else ():
                metadata = {"source": source, **good, key.name: text}
                try:
                    parse(metadata, "shop")
                except MetadataError as error:
                    yield key, metadata, str(error)
                else:
                    yield key, metadata, ""


def test_every_value_that_the_parser_takes_passes(policy: Policy) -> None:
    taken = [ours(metadata)[0] for _, metadata, told in changed() if not told]
    assert len(taken) > 500
    for first in range(0, len(taken), 100):  # CEL has a budget for one object, which all sources together may exceed
        assert policy.refusals(taken[first : first + 100]) == []


@pytest.mark.slow
def test_every_value_of_a_wrong_form_is_refused(policy: Policy) -> None:
    checked, common = 0, {key.name for key in COMMON}
    for key, metadata, told in changed():
        if key.name in common and metadata["source"] != "sqs":
            continue  # the policy has one expression for all sources
        of_the_form = key.type not in {"text", "list"} or "without empty items" in told
        if "0.1 or more" in told:
            continue  # between 0, which has a meaning of its own, and 0.1 only the parser tells
        if of_the_form and told.startswith(f"{key.name}: ") and "it must be" in told:
            checked += 1
            assert policy.refusals(ours(metadata)), metadata
    assert checked > 300


@st.composite
def metadatas(draw: Any) -> dict[str, str]:
    source = draw(st.sampled_from(sorted(SOURCES)))
    names = [key.name for key in keys(SOURCES[source].trigger) if key.name != "source"]
    text = st.sampled_from(TEXTS) | st.text("0123456789+-.eE", max_size=6)
    changes = draw(st.dictionaries(st.sampled_from([*names, "unknownKey"]), text, max_size=3))
    return {"source": source, **GOOD[source], **changes}


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(metadata=metadatas())
def test_what_the_parser_takes_passes(policy: Policy, metadata: dict[str, str]) -> None:
    refusals = policy.refusals(ours(metadata))
    if refusals:
        with pytest.raises(MetadataError):
            parse(metadata, "shop")
