"""The formats of `validate` for programs."""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

from scaler.cli import app

WRONG = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: orders
  namespace: shop
spec:
  scaleTargetRef: {name: worker}
  cooldownPeriod: 120
  triggers:
    - type: external-push
      metadata:
        scalerAddress: keda-queue-scaler.keda:9090
        source: sqs
        queueURL: https://sqs.eu-west-1.amazonaws.com/123456789012/orders
        queueLenght: "5"
"""


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A finding, a caution and a file that is not there; relative paths with what URIs and GitHub escape."""
    monkeypatch.chdir(tmp_path)
    Path("a b, 100%.yaml").write_text(WRONG.replace("120", "20"))
    return ["a b, 100%.yaml", "gone.yaml"]


def test_json(mixed: list[str]) -> None:
    code, out, _ = run("--output", "json", *mixed)
    report = json.loads(out)
    assert code == 2
    assert (report["triggers"], list(report)) == (1, ["triggers", "findings", "cautions", "unreadable"])
    assert report["findings"] == [
        {
            "file": mixed[0],
            "line": 15,
            "key": "queueLenght",
            "text": "unknown key for source sqs; did you mean queueLength?",
        }
    ]
    assert report["cautions"][0]["key"] == "cooldownPeriod"
    assert report["unreadable"] == [{"file": "gone.yaml", "line": 1, "key": "", "text": "No such file or directory"}]


def test_github(mixed: list[str]) -> None:
    _, out, _ = run("--output", "github", *mixed)
    assert out.splitlines()[1] == (
        "::error file=a b%2C 100%25.yaml,line=15,title=queueLenght::unknown key for source sqs; did you mean queueLength?"
    )
    assert [line.partition(" ")[0] for line in out.splitlines()] == ["::warning", "::error", "::error"]


def test_sarif(mixed: list[str]) -> None:
    """The rules of SARIF 2.1.0 (§3.13, 3.14, 3.19, 3.27 to 3.30, 3.49) and of GitHub's code scanning that concern it."""
    _, out, _ = run("--output", "sarif", *mixed)
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].startswith("https://")
    (made,) = log["runs"]
    driver = made["tool"]["driver"]
    assert driver["name"]
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    assert all(rule["shortDescription"]["text"] and rule["helpUri"].startswith("https://") for rule in driver["rules"])
    assert made["invocations"] == [{"executionSuccessful": False}]
    assert made["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    assert [result["ruleId"] for result in made["results"]] == ["caution", "finding", "unreadable"]
    for result in made["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        where = location["physicalLocation"]
        uri = where["artifactLocation"]["uri"]
        assert urlsplit(uri).scheme in {"", "file"}
        assert unquote(uri) in mixed
        assert not set(uri) & set(' ,"<>\\^`{|}')
        assert where["region"]["startLine"] >= 1
    assert json.loads(run("--output", "sarif", Path(mixed[0]).absolute())[1])["runs"][0]["results"][0]["locations"][0][
        "physicalLocation"
    ]["artifactLocation"]["uri"].startswith("file:///")
