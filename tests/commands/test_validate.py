"""Findings about manifests, each with its line."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.validate import validate
from tests.commands.validated import HEAD, SCALED_OBJECT, TRIGGER, found


def test_a_good_manifest_has_no_findings(tmp_path: Path) -> None:
    assert found(tmp_path, SCALED_OBJECT + TRIGGER) == []


def test_every_wrong_key_of_a_trigger_is_found_at_its_line(tmp_path: Path) -> None:
    lines = found(tmp_path, SCALED_OBJECT + TRIGGER + '        queueLenght: "5"\n        awsRegon: eu-west-1\n')
    assert lines == [
        "15: queueLenght: unknown key for source sqs; did you mean queueLength?",
        "16: awsRegon: unknown key for source sqs; did you mean awsRegion?",
    ]


def test_a_wrong_value_is_found_with_what_is_allowed(tmp_path: Path) -> None:
    (line,) = found(tmp_path, SCALED_OBJECT + TRIGGER + '        queueLength: "none"\n')
    assert line == "15: queueLength: 'none' is not allowed; it must be a whole number"


def test_a_rule_about_several_keys_names_the_one_to_look_at(tmp_path: Path) -> None:
    (line,) = found(tmp_path, SCALED_OBJECT + TRIGGER + "        queueNamePrefix: or\n")
    assert line.startswith("14: queueURL: give either queueURL or queueNamePrefix")


def test_a_missing_source_is_found(tmp_path: Path) -> None:
    (line,) = found(tmp_path, SCALED_OBJECT + TRIGGER.replace("source: sqs", "sorce: sqs"))
    assert "source: required" in line
    assert "'sorce'" in line


def test_values_from_the_environment_are_not_judged_but_their_keys_are(tmp_path: Path) -> None:
    sidekiq = TRIGGER.replace("source: sqs", "source: sidekiq").partition("        queueURL")[0]
    text = SCALED_OBJECT + sidekiq + "        queues: mail\n        redisURLFromEnv: REDIS_URL\n"
    assert found(tmp_path, text) == []
    assert "rediURL" in found(tmp_path, text.replace("redisURLFromEnv", "rediURLFromEnv"))[0]


def test_a_missing_address_is_found(tmp_path: Path) -> None:
    text = SCALED_OBJECT + TRIGGER.replace("        scalerAddress: keda-queue-scaler.keda:9090\n", "")
    assert found(tmp_path, text) == ["10: scalerAddress: required by KEDA: HOST:PORT of the scaler's gRPC"]


def test_other_triggers_and_kinds_are_passed_over(tmp_path: Path) -> None:
    other = '  triggers:\n    - type: cron\n      metadata: {timezone: UTC, start: 0 6 * * *, end: 0 7 * * *, desiredReplicas: "1"}\n'
    text = SCALED_OBJECT + other + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    assert found(tmp_path, text) == []
    (tmp_path / "so.yaml").write_text(text)
    assert validate([str(tmp_path)]).triggers == 0


SCALED_JOB = HEAD.replace("  cooldownPeriod: 120\n", "").format(kind="ScaledJob", target="jobTargetRef: {template: {}}")
REF = "      authenticationRef: {name: aws}\n"
KEYS = """\
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: aws, namespace: shop}
spec:
  secretTargetRef:
    - {parameter: awsAccessKeyID, name: aws, key: id}
    - {parameter: awsSecretAccessKey, name: aws, key: secret}
---
"""
PUSH, PULL = "type: external-push", "type: external"
TRAPS = {
    "metricType": (SCALED_OBJECT + TRIGGER.replace(PUSH, f"{PUSH}\n      metricType: Value"), "metricType is Value"),
    "cached": (
        SCALED_OBJECT + TRIGGER.replace(PUSH, f"{PUSH}\n      useCachedMetrics: true"),
        "up to pollingInterval old",
    ),
    "cooldown": (SCALED_OBJECT.replace("120", "20") + TRIGGER, "20 s is shorter"),
    "fallback below activation": (
        SCALED_OBJECT
        + "  fallback: {failureThreshold: 3, replicas: 2}\n"
        + '  advanced: {scalingModifiers: {formula: a + 1, target: "5", activationTarget: "10"}}\n'
        + TRIGGER.replace(PUSH, f"{PULL}\n      name: a"),
        "beside the formula 2 of them have the value 10, which is not above activationTarget",
    ),
    "fallback": (
        SCALED_OBJECT + "  fallback: {failureThreshold: 3, replicas: 0}\n" + TRIGGER,
        "scale the workload down to 1 or to zero",
    ),
    "push job": (SCALED_JOB + TRIGGER, "does not act on pushes"),
    "old counts": (SCALED_JOB + TRIGGER.replace(PUSH, PULL), 'write refreshSeconds: "0"'),
    "authentication elsewhere": (SCALED_OBJECT + TRIGGER + REF, "TriggerAuthentication aws: KEDA hands"),
    "authentication with keys": (
        KEYS + SCALED_OBJECT + TRIGGER + REF,
        "TriggerAuthentication aws has awsAccessKeyID, awsSecretAccessKey, but KEDA hands",
    ),
    "pod identity": (
        KEYS.partition("  secretTargetRef")[0]
        + "  podIdentity: {provider: aws}\n---\n"
        + SCALED_OBJECT
        + TRIGGER
        + REF,
        "TriggerAuthentication aws has podIdentity aws, but",
    ),
    "modifiers": (
        SCALED_OBJECT
        + '  advanced: {scalingModifiers: {formula: "a + 1", target: "2"}}\n'
        + TRIGGER.replace(PUSH, f"{PUSH}\n      name: a"),
        "ignores this scaler's active and inactive",
    ),
    "pushed modifiers": (
        SCALED_OBJECT
        + '  advanced: {scalingModifiers: {formula: "a + 1", target: "2", activationTarget: "9"}}\n'
        + TRIGGER.replace(PUSH, f"{PUSH}\n      name: a"),
        "a push wakes it even below activationTarget",
    ),
    "idle": (
        SCALED_OBJECT + "  minReplicaCount: 3\n  idleReplicaCount: 1\n" + TRIGGER,
        "idleReplicaCount: only 0 works: the HPA undoes 1 at its next sync, since its minimum is minReplicaCount 3",
    ),
    "flux": (
        SCALED_OBJECT
        + "  maxReplicaCount: 3\n"
        + TRIGGER.replace("source: sqs", "source: flux").replace(
            "queueURL: https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "controller: helm-controller"
        ),
        "one leader",
    ),
}


SIDEKIQ = (
    TRIGGER.partition("        source")[0] + "        source: sidekiq\n        redis: main\n        queues: mail\n"
)
STATEFUL = HEAD.format(kind="ScaledObject", target="scaleTargetRef: {kind: StatefulSet, name: worker}")
TRAPS |= {
    "sidekiq deployment": (STATEFUL + SIDEKIQ + "        deployment: worker\n", "write hostnameRegex: ^worker-[0-9]+$"),
    "sidekiq spareBusy": (STATEFUL + SIDEKIQ + "        spareBusy: hold\n", "pods of a ReplicaSet"),
    "sidekiq ScaledJob": (
        HEAD.format(kind="ScaledJob", target="jobTargetRef: {template: {}}").replace("  cooldownPeriod: 120\n", "")
        + SIDEKIQ.replace("-push", ""),
        'write busyRatio: "off", and queueLength',
    ),
}


COUNTED = SCALED_JOB + TRIGGER.replace(PUSH, PULL) + '        refreshSeconds: "0"\n'
WAITING = COUNTED + '        scaleOnInFlight: "false"\n'
MODIFIERS = SCALED_OBJECT + '  advanced: {scalingModifiers: {formula: "a + 1", target: "2.5"}}\n'
NAMED = TRIGGER.replace(PUSH, f"{PULL}\n      name: a")
PEM = KEYS.replace("awsAccessKeyID", "tlsClientCert").partition("    - {parameter: awsSecret")[0] + "---\n"
TRAPS |= {
    "cached job": (
        SCALED_JOB + TRIGGER.replace(PUSH, f"{PULL}\n      useCachedMetrics: true"),
        "useCachedMetrics: KEDA passes over it in a ScaledJob",
    ),
    "accurate job": (
        COUNTED.replace("spec:\n", "spec:\n  scalingStrategy: {strategy: accurate}\n", 1),
        "scalingStrategy: strategy accurate starts another Job at every poll for each message that a Job is at work on",
    ),
    "default job": (
        WAITING,
        "scalingStrategy: strategy default subtracts the Jobs that run from the messages that wait",
    ),
    "edited job": (SCALED_JOB + TRIGGER.replace(PUSH, PULL), "rollout: every edit of its spec deletes the Jobs"),
    "fallback beside a fraction": (
        MODIFIERS + "  fallback: {failureThreshold: 3, replicas: 2}\n" + NAMED,
        "scalingModifiers.target: KEDA takes fallback for invalid beside 2.5; use a whole number, such as 2",
    ),
    "fallback left to a formula": (
        MODIFIERS.replace("2.5", "2")
        + "  fallback: {failureThreshold: 3, replicas: 2, behavior: scalingModifiers}\n"
        + NAMED,
        "fallback.behavior: a trigger that failed too often is nil in the formula",
    ),
    "half a certificate": (
        PEM + SCALED_OBJECT + TRIGGER + REF,
        "TriggerAuthentication aws has tlsClientCert alone: KEDA takes tlsClientCert and tlsClientKey together",
    ),
    "two for one": (
        SCALED_OBJECT + TRIGGER + "---\n" + SCALED_OBJECT.replace("name: orders", "name: others") + TRIGGER,
        "scaleTargetRef: ScaledObject others scales Deployment worker as well: KEDA refuses the second",
    ),
}


@pytest.mark.parametrize(
    "other",
    [
        SCALED_OBJECT.replace("namespace: shop", "namespace: mall").replace("name: orders", "name: others"),
        SCALED_OBJECT.replace("{name: worker}", "{kind: StatefulSet, name: worker}").replace("orders", "others"),
        SCALED_OBJECT,  # the same one again, as a base and its overlay
    ],
)
def test_no_rivals(tmp_path: Path, other: str) -> None:
    assert found(tmp_path, SCALED_OBJECT + TRIGGER + "---\n" + other + TRIGGER) == []


def test_a_scaled_job_without_traps(tmp_path: Path) -> None:
    job = SCALED_JOB + "  rollout: {strategy: gradual}\n" + TRIGGER.replace(PUSH, PULL)
    assert found(tmp_path, job + '        refreshSeconds: "0"\n') == []
    older = SCALED_JOB + "  rolloutStrategy: gradual\n" + TRIGGER.replace(PUSH, PULL)
    assert found(tmp_path, older + '        refreshSeconds: "0"\n') == []


AWS = TRIGGER.replace("external-push", "aws-sqs-queue")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TRIGGER.replace("external-push", "External-Push"), ["10: type: KEDA knows no type External-Push; did you mean external-push?"]),
        (TRIGGER.replace("external-push", "external_push"), ["10: type: KEDA knows no type external_push; did you mean external-push?"]),
        (AWS, ["12: type: KEDA's own aws-sqs-queue takes no scalerAddress; an external scaler has type external or external-push"]),
        (re.sub(" *scalerAddress.*\n", "", AWS), ["10: type: KEDA's own aws-sqs-queue is asked, not this scaler, whose triggers have type external or external-push"]),
        (TRIGGER.replace("        source: sqs\n", "").replace("scalerAddress", "scaler"), ["10: scalerAddress: required by KEDA: HOST:PORT of the scaler's gRPC"]),
        (TRIGGER.replace("        source: sqs\n", "").replace("keda-queue-scaler", "other"), []),
        (re.sub(" *(scalerAddress|source).*\n", "", AWS), []),
    ],
)  # fmt: skip
def test_a_trigger_that_is_none_of_ours_by_mistake(tmp_path: Path, text: str, said: list[str]) -> None:
    assert found(tmp_path, SCALED_OBJECT + text) == said


def test_advice_about_metrics_that_are_too_many_can_be_followed(tmp_path: Path) -> None:
    formula = '  minReplicaCount: 1\n  advanced: {scalingModifiers: {formula: "a", target: "2"}}\n'
    named = SIDEKIQ.replace("-push", "\n      name: a")
    lines = found(tmp_path, SCALED_OBJECT + formula + named + '        queueLength: "5"\n')
    assert 'split it into several triggers: `busyRatio: "off"` leaves the busy metric out' in "\n".join(lines)
    lines = found(tmp_path, SCALED_OBJECT + formula + named + '        queueLength: "5"\n        busyRatio: "off"\n')
    assert "split" not in "\n".join(lines)


@pytest.mark.parametrize(("text", "said"), TRAPS.values(), ids=TRAPS)
def test_traps(tmp_path: Path, text: str, said: str) -> None:
    lines = found(tmp_path, text)
    assert [line for line in lines if said in line], lines
    assert CliRunner().invoke(app, ["validate", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(app, ["validate", "--strict", str(tmp_path)]).exit_code == 1


def test_a_formula_without_push_is_not_told_of_pushes(tmp_path: Path) -> None:
    (line,) = found(tmp_path, TRAPS["pushed modifiers"][0].replace(PUSH, PULL))
    assert "a push wakes" not in line


def test_the_command_tells_where_and_how_many(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(SCALED_OBJECT + TRIGGER + '        queueLenght: "5"\n')
    result = CliRunner().invoke(app, ["validate", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path}/bad.yaml:15: queueLenght: unknown key" in result.output
    assert "1 trigger of this scaler, 1 finding\n" in result.output
    (tmp_path / "bad.yaml").write_text(SCALED_OBJECT + TRIGGER)
    assert CliRunner().invoke(app, ["validate", str(tmp_path)]).exit_code == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://keda-queue-scaler.keda:9090", "has a scheme"),
        ("grpc://keda-queue-scaler.keda:9090", "has a scheme"),
        ("keda-queue-scaler.keda", "must be HOST:PORT"),
        ("keda-queue-scaler.keda:", "must be HOST:PORT"),
        ("keda-queue-scaler.keda:http", "must be HOST:PORT"),
        ("keda-queue-scaler.keda:90909", "must be HOST:PORT"),
        ("keda-queue-scaler.keda:9090/", "must be HOST:PORT"),
        (":9090", "must be HOST:PORT"),
        ("fe80::1:9090", "must be HOST:PORT"),
    ],
)
def test_a_wrong_address_is_found_at_its_line(tmp_path: Path, address: str, said: str) -> None:
    (line,) = found(tmp_path, SCALED_OBJECT + TRIGGER.replace("keda-queue-scaler.keda:9090", f'"{address}"'))
    assert line.startswith(f"12: scalerAddress: '{address}' {said}")


@pytest.mark.parametrize("address", ["10.0.0.7:9090", "[fd00::7]:9090", "scaler:1", "dns:///scaler.keda:9090"])
def test_addresses_that_grpc_dials(tmp_path: Path, address: str) -> None:
    assert found(tmp_path, SCALED_OBJECT + TRIGGER.replace("keda-queue-scaler.keda:9090", f'"{address}"')) == []
