"""What `explain` says: word for word for every sample, and with what a command line may ask."""

import io
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from scaler.cli import app, main
from scaler.commands.asking import server_at
from scaler.commands.explain import explain
from scaler.commands.manifests import read, resolved
from scaler.commands.text import show
from scaler.core.domain import Found, Place, Reader, Readings, Report
from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import SCRIPT
from scaler.keda.scalable import ScaledJob, ScaledObject
from scaler.server.app import Server
from scaler.settings import Settings, load
from scaler.sources import SOURCES
from scaler.sources.triggers import check

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "samples").glob("*.yaml"))
GOLDEN = Path(__file__).parent / "golden"
ENV = {"REDIS_URL": "redis://:canary-password@redis.shop:6379/0"}
COUNTS = (40, 9, 12)
"""Of what a source counts (`Trigger.counts`), in its order."""
SETTINGS = {"redis": {"main": {"url": "redis://redis.shop:6379"}}, "listen": "127.0.0.1:0", "http": "127.0.0.1:0"}


class Imagined(Reader):
    """Finds what the sources imagine from `COUNTS`; whatever they cannot imagine is out of reach."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        kind
        for source in SOURCES.values()
        for reader in source.readers
        for kind in reader.kinds  # type: ignore[attr-defined]  # factories here are classes
    )

    def __init__(self, values: Mapping[Place, Any]) -> None:
        self._values = values

    async def read(self, places: Sequence[Place], report: Report) -> None:
        for place in places:
            known = place in self._values
            report(place, Found(self._values[place], SCRIPT) if known else Unavailable(f"{place}: out of reach"))


def imagined(owners: Sequence[ScaledObject | ScaledJob], wall: float) -> dict[Place, Any]:
    values: dict[Place, Any] = {}
    for owner in owners:
        for manifest in owner.triggers:
            trigger, _ = check(resolved(manifest, ENV)[0], owner.namespace)
            if trigger is not None and trigger.counts:
                readings: Readings = trigger.imagined(dict(zip(trigger.counts, COUNTS, strict=False)), 2, wall)
                values |= readings
    return values


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs this may have a cluster, of which the texts are not to speak."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
async def serving(clock: ManualClock) -> AsyncIterator[Callable[[Path], Server]]:
    """Make servers that find what a sample's sources imagine."""
    made: list[Server] = []

    def serve(sample: Path) -> Server:
        values = imagined(read([str(sample)], "explain").objects, clock.wall())
        made.append(Server(Settings.model_validate(SETTINGS), clock, [Imagined(values)]))
        return made[-1]

    yield serve
    for server in made:
        await server.close()


async def explained(server: Server, file: Path, replicas: int | None = 2) -> list[dict[str, Any]]:
    async def ask(namespace: str, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        return await server.explainer.explain(namespace, name, metadata, 1)

    return await explain(read([str(file)], "explain"), ask, ENV, replicas)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
async def test_every_sample_word_for_word(serving: Callable[[Path], Server], sample: Path) -> None:
    """With UPDATE_GOLDEN=1 the expected texts are written anew: read the difference before you commit it."""
    console = Console(width=200, force_terminal=False, file=io.StringIO())
    explanations = await explained(serving(sample), sample)
    for explanation in explanations:
        show(console, {**explanation, "file": sample.name})
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO from above
    golden = GOLDEN / f"{sample.stem}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
    assert "canary-password" not in json.dumps(explanations)


async def test_reading_anew_is_billed_at_each_poll_of_the_manifest() -> None:
    """A queue that another trigger reads every 2 s costs that; one for this trigger alone is read every 10 s."""
    manifests = read([str(ROOT / "samples" / "scaledjob-sqs.yaml")], "explain")

    async def ask(_namespace: str, _name: str, _metadata: Mapping[str, str]) -> dict[str, Any]:
        places = [{"backend": backend, "interval": at} for backend, at in (("sqs/a", 90), ("sqs/b", 2), ("redis/c", 1))]
        cost = {"requestsPerMonth": (120 + 1800) * 730, "dollarsPerMonth": 0.5606, "priceDate": "2026-08"}
        return {"error": None, "active": True, "metrics": [], "places": places, "cost": cost}

    (job,) = await explain(manifests, ask, {}, None)
    assert job["triggers"][0]["cost"] == {
        "requestsPerMonth": (360 + 1800) * 730,
        "dollarsPerMonth": 0.6307,
        "priceDate": "2026-08",
    }


async def test_a_running_server_explains_the_same_as_this_process(serving: Callable[[Path], Server]) -> None:
    sample = ROOT / "samples" / "sidekiq-busy-ratio.yaml"
    server = serving(sample)
    await server.start()
    manifests = read([str(sample)], "explain")
    async with server_at(f"127.0.0.1:{server.port}") as ask:
        remote = await explain(manifests, ask, ENV, 2)
    local = await explained(server, sample)
    for answers in (remote, local):
        for trigger in answers[0]["triggers"]:
            trigger.pop("calls")
    assert remote == local
    assert remote[0]["triggers"][0]["state"] == "active"


SQS = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: orders, namespace: shop}
spec:
  scaleTargetRef: {name: worker}
  minReplicaCount: {least}
  triggers:
    - type: external
      metadata: {scalerAddress: "x:1", source: sqs, queueURL: orders, awsRegion: eu-west-1, awsEndpoint: "http://127.0.0.1:1"}
"""


def test_a_failing_trigger_makes_exit_code_1_and_tells_what_keda_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("SCALER_AWS__ALLOWED_ENDPOINTS", '["http://127.0.0.1:*"]')
    (tmp_path / "so.yaml").write_text(SQS.replace("{least}", "0"))
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "so.yaml"), "--replicas", "3"])
    assert result.exit_code == 1
    assert "UNAVAILABLE: SQS queue orders in eu-west-1" in result.output
    assert "KEDA keeps the 3 replicas that there are while a trigger fails; there is no fallback" in result.output
    assert "canary" not in result.output
    as_json = CliRunner().invoke(app, ["explain", str(tmp_path / "so.yaml"), "--output", "json"])
    (owner,) = json.loads(as_json.stdout)
    assert owner["triggers"][0]["error"]["code"] == "UNAVAILABLE"
    assert owner["triggers"][0]["metrics"][0]["value"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain"], "give either FILE"),
        (["explain", "no-such-file.yaml"], "no-such-file.yaml: No such file"),
        (["explain", "-", "--env", "REDIS_URL"], "--env REDIS_URL: must be NAME=VALUE"),
        (["validate"], "Missing argument"),
    ],
    ids=["nothing", "no file", "env", "validate nothing"],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["scaler", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_no_trigger_of_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "so.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "so.yaml")])
    assert (result.exit_code, result.output.strip()) == (0, "no trigger of this scaler in these manifests")


def test_the_settings_of_this_test_are_those_of_a_file() -> None:
    assert load(None, SETTINGS).redis.keys() == {"main"}


async def test_a_scale_down_is_told_with_the_window_that_it_waits_for(serving: Callable[[Path], Server]) -> None:
    sample = ROOT / "samples" / "shoryuken-sqs.yaml"
    (explanation,) = await explained(serving(sample), sample, replicas=30)
    assert explanation["scaling"]["desired"] < 30
    assert "a scale-down waits until nothing has asked for more" in explanation["scaling"]["lines"][-1]


TWO = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: orders, namespace: shop}
spec:
  scaleTargetRef: {name: worker}
  triggers:
    - type: external
      metadata: {scalerAddress: "x:1", source: sqs, queueURL: "orders,mails", awsRegion: eu-west-1, awsEndpoint: "http://127.0.0.1:1"}
    - type: external
      metadata: {scalerAddress: "x:1", source: sqs, queueUrl: orders}
    - type: external
      metadata: {scalerAddress: "x:1", source: sidekiq, redisURLFromEnv: MY_REDIS, queues: default}
"""


def test_each_thing_is_said_once_and_a_missing_variable_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("SCALER_AWS__ALLOWED_ENDPOINTS", '["http://127.0.0.1:*"]')
    (tmp_path / "so.yaml").write_text(TWO)
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "so.yaml")])
    assert result.output.count("no connection") == 1
    assert (
        "SQS queue mails in eu-west-1 at http://127.0.0.1:1: never read; failing for under 1 s, as above"
        in result.output
    )
    assert "trigger 1 external sqs: error" in result.output, "the source is known, though the metadata is refused"
    (redis,) = (line for line in result.output.splitlines() if "MY_REDIS" in line)
    assert redis.strip().startswith("INVALID_ARGUMENT: MY_REDIS is not set here; KEDA takes it from the workload's")
    assert CliRunner().invoke(app, ["explain", str(tmp_path / "so.yaml")]).output == result.output


async def test_people_who_ask_are_not_taken_for_keda(serving: Callable[[Path], Server]) -> None:
    server = serving(ROOT / "samples" / "shoryuken-sqs.yaml")
    await explained(server, ROOT / "samples" / "shoryuken-sqs.yaml")
    (explanation,) = await explained(server, ROOT / "samples" / "shoryuken-sqs.yaml")
    assert (explanation["triggers"][0]["calls"], explanation["triggers"][0]["lastCall"]) == (0, None)
