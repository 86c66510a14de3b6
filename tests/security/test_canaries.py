"""Secrets in every field that can hold one, and then a look at everything that the program says: none is there."""

import asyncio
import base64
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import grpc.aio
import pytest
import trustme
import yaml

from scaler.core.errors import MetadataError
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.resp import Command, RespServer
from scaler.demo.valkey import free_port
from scaler.pb import explainer_pb2_grpc
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.settings import Settings, load
from scaler.sources.triggers import parse

CANARY = "canary+wörd"
"""Every secret begins so; it looks different when it is percent-encoded or written as JSON."""
NAMES = itertools.count()
COMMAND = ("-c", "from scaler.cli import main; main()")


def canary(where: str) -> str:
    return f"{CANARY}-{where}"


def url_canary(where: str) -> str:
    return quote(canary(where), safe="")


def leaks(text: str) -> list[str]:
    """Return the lines of `text` that hold a canary in any of its spellings."""
    spellings = {CANARY, quote(CANARY, safe=""), quote(CANARY), json.dumps(CANARY)[1:-1], CANARY.encode().hex()}
    spellings |= {CANARY.replace("ö", "Ã¶"), "canary", base64.b64encode(b"canar").decode()[:6]}
    return [line for line in text.splitlines() if any(spelling in line for spelling in spellings)]


def test_a_leak_would_be_found() -> None:
    said = [CANARY, url_canary("x"), json.dumps(CANARY), base64.b64encode(f"{CANARY}:x".encode()).decode()]
    assert len(leaks("\n".join(["nothing", *said]))) == len(said)


@pytest.fixture
async def echo() -> AsyncIterator[RawServer]:
    """A web server that answers each request with an error which quotes it whole, credentials included."""

    def tell(head: str) -> bytes:
        said = head.encode("latin-1").decode(errors="replace")
        body = {"status": "error", "error": said, "__type": said, "message": said, "kind": "Status", "code": 400}
        return answer(json.dumps(body).encode(), status=400, headers={"x-amzn-query-error": "leak"})

    server = RawServer(tell)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def redis_echo() -> AsyncIterator[RespServer]:
    """A Redis that quotes every command in its error, as a real one does for what it does not know."""

    def tell(command: Command) -> bytes:
        return b"-ERR unknown command " + b" ".join(command) + b"\r\n"

    async with RespServer(tell) as server:
        yield server


class Program:
    """`scaler serve` with a configuration full of canaries."""

    def __init__(self, folder: Path, echo: int, redis_echo: int) -> None:
        self.folder, self.echo, self.redis_echo = folder, echo, redis_echo
        self.port, self.http_port = free_port(), free_port()
        self.ca = trustme.CA()
        self.config = folder / "config.yaml"
        self._process: asyncio.subprocess.Process | None = None

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def write(self) -> None:
        issued = self.ca.issue_cert("localhost")
        key = f"# {canary('tls-key')}\n{issued.private_key_pem.bytes().decode()}"
        chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
        redis = f"127.0.0.1:{self.redis_echo}"
        kubeconfig = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.echo}"}}],
            "users": [{"name": "u", "user": {"token": base64.b64encode(canary("kube").encode()).decode()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self.http_port}",
            "healthListen": "127.0.0.1:0",
            "log": {"level": "debug", "format": "json"},
            "tls": {"certFile": self.file("tls.crt", chain), "keyFile": self.file("tls.key", key)},
            "redis": {
                "inline": {"url": f"redis://{url_canary('user')}:{url_canary('redis')}@{redis}/1"},
                "file": {"url": f"redis://{redis}", "passwordFile": self.file("redis", canary("redis-file"))},
                "sentinel": {
                    "url": f"redis+sentinel://:{url_canary('redis')}@{redis}/mymaster/0",
                    "sentinelPasswordFile": self.file("sentinel", canary("sentinel")),
                },
            },
            "prometheus": {
                "inline": {"url": f"http://u:{url_canary('prometheus')}@127.0.0.1:{self.echo}"},
                "token": {"url": f"http://127.0.0.1:{self.echo}", "tokenFile": self.file("token", "canary-token")},
            },
            "aws": {
                "roles": [
                    {"arn": "arn:aws:iam::123456789012:role/*", "namespaces": ["*"], "externalId": "canary-external-id"}
                ],
                "allowedEndpoints": ["http://127.0.0.1:*"],
            },
            "kubernetes": {"kubeconfig": self.file("kubeconfig", yaml.safe_dump(kubeconfig))},
            "page": {"tokenFile": self.file("page", "canary-page-token")},
            "drain": {"waitSeconds": 0, "graceSeconds": 0},
        }
        self.config.write_text(yaml.safe_dump(settings))

    @property
    def env(self) -> dict[str, str]:
        aws = {
            "AWS_ACCESS_KEY_ID": "canary-key-id",
            "AWS_SECRET_ACCESS_KEY": "canary-secret-key",
            "AWS_SESSION_TOKEN": "canary-session-token",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{self.echo}",
        }
        return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | aws

    def triggers(self) -> Iterator[dict[str, str]]:
        """Yield triggers with a secret in each key that can hold one, on backends that quote it or are not there."""
        nobody = free_port()
        for host in (f"127.0.0.1:{self.echo}", f"127.0.0.1:{nobody}"):
            base = {"source": "workqueue", "queues": "orders"}
            yield {**base, "metricsURL": f"http://u:{url_canary('page')}@{host}/metrics?token={url_canary('query')}"}
            yield {**base, "metricsURLFromEnv": f"http://{url_canary('page')}@{host}/metrics"}
            yield {**base, "prometheusURL": f"http://u:{url_canary('prometheus')}@{host}"}
            yield {"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1", "awsEndpoint": f"http://{host}"}
        for host in (f"127.0.0.1:{self.redis_echo}", f"127.0.0.1:{nobody}"):
            base = {"source": "sidekiq", "queues": "default"}
            schemes = (("redis", "/0"), ("rediss", "/0"), ("redis+sentinel", "/mymaster/0"))
            for scheme, path in schemes if host.endswith(str(nobody)) else schemes[::2]:  # no TLS where it would quote
                yield {**base, "redisURL": f"{scheme}://u:{url_canary('redis')}@{host}{path}"}
            yield {**base, "redisURLFromEnv": f"redis://:{url_canary('redis')}@{host}/x/{url_canary('path')}"}
        for name in ("inline", "file", "sentinel"):
            yield {"source": "sidekiq", "queues": "default", "redis": name}
        for name in ("inline", "token"):
            yield {"source": "workqueue", "queues": "orders", "prometheus": name}
        role = {"awsRoleArn": "arn:aws:iam::123456789012:role/worker", "awsRegion": "eu-west-1", "queueURL": "q"}
        yield {"source": "sqs", **role}
        yield {"source": "flux", "controller": "kustomize-controller"}
        yield {"source": "argocd", "component": "application-controller"}
        # And mistakes, which quote what is wrong.
        yield {"source": "sidekiq", "queues": "default", "redisURL": f"http://:{canary('scheme')}@h"}
        yield {"source": "sidekiq", "queues": "default", "redisURLFromEnv": canary("no-url")}
        yield {"source": "workqueue", "queues": "orders", "metricsURL": f"ftp://u:{canary('scheme')}@h/"}
        yield {"source": "workqueue", "queuesFromEnv": "orders", "metricsURL": f"http://u:{canary('port')}@h:x/"}
        yield {"source": "workqueue", "queues": "orders", "prometheusURL": f"u:{canary('no-scheme')}@h"}
        yield {"sourceFromEnv": canary("source")}
        yield {"source": "workqueue", "queues": "o", "metricsURL": "http://h/", "queueLengthFromEnv": canary("number")}

    async def run(self, *arguments: str) -> tuple[str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return out.decode(), err.decode()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            "serve",
            "--config",
            str(self.config),
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
        )

    async def stop(self) -> str:
        """End it and return what it wrote to standard error."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(self._process.communicate(), 20)
        return err.decode()


@pytest.fixture
def program(tmp_path: Path, echo: RawServer, redis_echo: RespServer) -> Program:
    made = Program(tmp_path, echo.port, redis_echo.port)
    made.write()
    return made


async def _ask_everything(program: Program) -> tuple[list[str], int]:
    """Ask for each trigger all that can be asked; return every answer and error, and how many errors there were."""
    said, errors = [], 0
    credentials = grpc.ssl_channel_credentials(program.ca.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"localhost:{program.port}", credentials) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30)
        stub, explainer = ExternalScalerStub(channel), explainer_pb2_grpc.ExplainerStub(channel)
        for metadata in program.triggers():
            ref = pb.ScaledObjectRef(name=f"o-{next(NAMES)}", namespace="shop", scalerMetadata=metadata)
            calls = [
                stub.GetMetricSpec(ref),
                stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref, metricName="x")),
                stub.IsActive(ref),
                explainer.Explain(ref),
            ]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                errors += isinstance(outcome, grpc.aio.AioRpcError)
                said.append(repr(outcome) if isinstance(outcome, BaseException) else str(outcome))
    return said, errors


async def _read_pages(program: Program) -> list[str]:
    said = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{program.http_port}") as http:
        for headers in ({"Authorization": "Bearer canary-page-token"}, {"Authorization": "Bearer wrong"}, {}):
            for path in ("/metrics", "/", "/backends", "/api/scaledobjects", "/api/backends", "/nothing"):
                async with http.get(path, headers=headers) as response:
                    said.append(f"{response.status} {response.headers} {await response.text()}")
        headers = {"Authorization": "Bearer canary-page-token"}
        async with http.get("/api/scaledobjects", headers=headers) as response:
            assert response.status == 200
        for number in range(next(NAMES)):
            for prefix in ("", "/api"):
                async with http.get(f"{prefix}/scaledobjects/shop/o-{number}", headers=headers) as response:
                    said.append(await response.text())
    return said


async def test_no_secret_is_told_anywhere(program: Program) -> None:
    await program.start()
    answers, errors = await _ask_everything(program)
    pages = await _read_pages(program)
    log = await program.stop()
    assert errors > 40, "the backends were meant to fail"
    assert "serving" in log
    assert log.count("answered with an error") > 10
    assert len(pages) > 50
    for place, text in (("log", log), ("answers", "\n".join(answers)), ("pages", "\n".join(pages))):
        assert leaks(text) == [], place


async def test_no_secret_in_what_the_commands_say(program: Program, tmp_path: Path) -> None:
    documents = [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": f"o-{number}", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"name": "o"},
                "triggers": [{"type": "external", "metadata": {"scalerAddress": "s:9090", **metadata}}],
            },
        }
        for number, metadata in enumerate(program.triggers())
        if not any(key.endswith("FromEnv") for key in metadata) and ":1/" not in str(metadata)
    ]
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    runs = [
        ("validate", str(manifest)),
        ("explain", str(manifest), "--config", str(program.config)),
        ("explain", str(manifest), "--config", str(program.config), "--output", "json"),
    ]
    for arguments in runs:
        out, err = await program.run(*arguments)
        assert "o-0" in out or "manifest.yaml" in out, err
        assert leaks(out) == [], arguments
        assert leaks(err) == [], arguments


def test_no_secret_in_a_dump_of_the_configuration(program: Program) -> None:
    settings = load(program.config)
    assert (
        leaks("\n".join([repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()])) == []
    )
    assert isinstance(settings, Settings)


def test_no_secret_in_what_a_trigger_and_its_places_look_like(program: Program) -> None:
    parsed, said = 0, []
    for metadata in program.triggers():
        try:
            trigger = parse(metadata, "shop")
        except MetadataError as error:
            said.append(str(error))
            continue
        parsed += 1
        shown = [trigger, *trigger.places(), *map(str, trigger.places()), *(p.backend for p in trigger.places())]
        assert leaks("\n".join(map(repr, (*shown, *trigger.claims())))) == [], metadata
    assert leaks("\n".join(said)) == []
    assert parsed > 15
    assert len(said) >= 7


CRASH = """
import asyncio, logging, sys, threading
from scaler.core.domain import Found
from scaler.demo.scripted import SCRIPT, SOURCE, ScriptedReader
from scaler.core.clock import SystemClock
from scaler.core.logs import configure
from scaler.server.app import Server
from scaler.settings import Settings
from scaler.sources import SOURCES
import grpc.aio
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

class Broken(ScriptedReader):
    async def read(self, places, report):
        if places[0].name == "assess":
            for place in places:
                report(place, Found("canary-value", SCRIPT))  # what the judging then quotes
            return
        try:
            raise KeyError("canary-cause")
        except KeyError as error:
            raise RuntimeError("canary-message") from error

async def main():
    configure("debug", sys.argv[1])
    SOURCES[SOURCE.name] = SOURCE
    def bad(self, readings, now):
        return [float(value) for value in readings.values()]
    SOURCE.trigger.assess = bad
    server = Server(Settings(listen="127.0.0.1:0", http="127.0.0.1:0", drain={"grace_seconds": 0}), SystemClock(),
                    [Broken(SystemClock())])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for spot in ("read", "assess"):
            ref = pb.ScaledObjectRef(name=spot, namespace="shop", scalerMetadata={"source": "scripted", "spots": spot})
            try:
                await ExternalScalerStub(channel).IsActive(ref)
            except grpc.aio.AioRpcError as error:
                print(error.details(), file=sys.stderr)
    try:
        raise ValueError("canary-library")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("a library's own report")
    asyncio.get_running_loop().call_exception_handler({"message": "lost task", "exception": OSError("canary-task")})
    await server.close()
    thread = threading.Thread(target=lambda: {}["canary-thread"])
    thread.start()
    thread.join()
    raise RuntimeError("canary-uncaught")

asyncio.run(main())
"""


@pytest.mark.parametrize("style", ["json", "console"])
async def test_no_secret_in_what_a_crash_writes(style: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASH, style, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    text = out.decode()
    for expected in ("a reader failed", "internal error", "a library's own report", "lost task"):
        assert expected in text, text
    # The class and the line of each are told, what they say is not.
    for kind in ("RuntimeError", "KeyError", "ValueError", "OSError"):
        assert kind in text
    # The source line of a crash is shown, and this script's own lines hold its canaries; the program's never do.
    assert leaks("\n".join(line for line in text.splitlines() if "raise " not in line)) == []
