"""Findings about manifests, each with its line."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.validate import validate

HEAD = """\
apiVersion: keda.sh/v1alpha1
kind: {kind}
metadata:
  name: orders
  namespace: shop
spec:
  {target}
  cooldownPeriod: 120
"""
TRIGGER = """\
  triggers:
    - type: external-push
      metadata:
        scalerAddress: keda-queue-scaler.keda:9090
        source: sqs
        queueURL: https://sqs.eu-west-1.amazonaws.com/123456789012/orders
"""
SCALED_OBJECT = HEAD.format(kind="ScaledObject", target="scaleTargetRef: {name: worker}")


def found(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "so.yaml").write_text(text)
    return [
        f"{finding.line}: {finding.key}: {finding.problem}"
        for finding in validate([str(tmp_path / "so.yaml")]).findings
    ]


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
    "fallback": (
        SCALED_OBJECT + "  fallback: {failureThreshold: 3, replicas: 0}\n" + TRIGGER,
        "scale the workload to zero",
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


BROKEN = "a: [\n"
WRONG = SCALED_OBJECT + TRIGGER + '        queueLenght: "5"\n'
TEMPLATED = "{{- if .Values.keda }}\n" + SCALED_OBJECT + TRIGGER + "{{- end }}\n"


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_no_file_of_a_folder_hides_the_findings_of_another(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BROKEN)
    (tmp_path / "b.yaml").write_bytes(b"kind: ScaledObject\n\xff\xfe")
    (tmp_path / "c.yaml").write_text(TEMPLATED)
    (tmp_path / "d.yaml").write_text(WRONG)
    (tmp_path / "e.yaml").write_text(f"{WRONG}---\n{BROKEN}---\n{WRONG}")
    (tmp_path / "f.yaml").symlink_to(tmp_path / "gone")
    (tmp_path / "g.yaml").mkdir()
    (tmp_path / "h.txt").write_text(BROKEN)
    code, out, err = run(tmp_path)
    lines = [line.removeprefix(f"{tmp_path}/") for line in out.splitlines()]
    assert code == 1
    assert [line.partition(": ")[0] for line in lines] == [
        "c.yaml:1",
        "d.yaml:15",
        "e.yaml:15",
        "e.yaml:18",
        "e.yaml:33",
        "f.yaml:1",
    ]
    assert "caution: not YAML" in lines[0]
    assert "helm template RELEASE CHART | scaler validate -" in lines[0]
    assert "caution: No such file or directory, so it was passed over" in lines[-1]
    assert err == "3 triggers of this scaler, 4 findings, 2 cautions\n"


def test_pre_commit_names_every_file(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    names = []
    for name, text in {"broken": BROKEN, "chart": TEMPLATED, "good": SCALED_OBJECT + TRIGGER, "wrong": WRONG}.items():
        names.append(tmp_path / f"{name}.yaml")
        names[-1].write_text(text)
    entry = hook["entry"].split()[2:]
    code, out, err = run(*entry, *names)
    assert (code, err) == (1, "2 triggers of this scaler, 1 finding, 1 caution\n")
    assert "wrong.yaml:15" in out
    assert run(*entry, *names[:-1])[0] == 0


def test_a_named_file_that_cannot_be_read_is_told_after_all_others(tmp_path: Path) -> None:
    broken, good, wrong = tmp_path / "broken.yaml", tmp_path / "good.yaml", tmp_path / "wrong.yaml"
    broken.write_text(BROKEN)
    good.write_text(SCALED_OBJECT + TRIGGER)
    wrong.write_text(WRONG)
    code, out, err = run(broken, tmp_path / "gone.yaml", good, wrong)
    assert code == 2
    assert "queueLenght" in out
    assert [line.removeprefix(f"{tmp_path}/") for line in err.splitlines()] == [
        "broken.yaml:2: not YAML: did not find expected node content",
        "gone.yaml:1: No such file or directory",
        "2 triggers of this scaler, 1 finding",
    ]
    assert run(good, broken)[0] == 2
    assert run(good)[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  cooldownPeriod: 120", '  minReplicaCount: "0"', "8: spec.minReplicaCount: must be a valid integer"),
        ("  cooldownPeriod: 120", "  cooldownPeriod: soon", "8: spec.cooldownPeriod: must be a valid integer"),
        ("  cooldownPeriod: 120", "  fallback: {replicas: 1}", "8: spec.fallback.failureThreshold: is required"),
        ("  name: orders", "  labels: {}", "3: metadata.name: must be a name"),
        ("scaleTargetRef: {name: worker}", "scaleTargetRef: {}", "7: spec.scaleTargetRef.name: is required"),
        ("scaleTargetRef: {name: worker}", "paused: true", "6: spec.scaleTargetRef: is required"),
        ("  triggers:", "  triggers:\n    - cron", "10: spec.triggers[0]: must be an object"),
        ("  triggers:", "  triggers:\n    - metadata: {}", "10: spec.triggers[0].type: is required"),
    ],
)
def test_what_the_api_server_refuses_hides_no_finding_of_a_trigger(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in WRONG
    lines = found(tmp_path, WRONG.replace(old, new, 1))
    assert said in lines
    assert any("queueLenght: unknown key" in line for line in lines)
    assert run(tmp_path)[0] == 1


def test_a_template_that_happens_to_be_yaml_is_no_finding(tmp_path: Path) -> None:
    text = SCALED_OBJECT + TRIGGER.replace(
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders", '"{{ .Values.queue }}"'
    )
    assert found(tmp_path, text) == ["10: metadata: values with {{ are not rendered yet, so they were not looked at"]
    assert run(tmp_path)[0] == 0


def test_a_key_of_many_lines_stays_one_line(tmp_path: Path) -> None:
    (tmp_path / "so.yaml").write_text(SCALED_OBJECT + TRIGGER.replace("type:", '"ty\\n::error::pe": a\n      type:'))
    assert len(run(tmp_path)[1].splitlines()) == 1


def test_many_findings_and_none(tmp_path: Path) -> None:
    (tmp_path / "so.yaml").write_text(f"{WRONG}        zzz: a\n---\n{SCALED_OBJECT}{TRIGGER}")
    assert run(tmp_path)[2] == "2 triggers of this scaler, 2 findings\n"
    assert run("--output", "json", tmp_path)[0] == 1
