"""`validate` with many files, some of which cannot be read."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from scaler.cli import app
from tests.commands.validated import SCALED_OBJECT, TRIGGER, found

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
