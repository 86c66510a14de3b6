"""Secrets in every field that can hold one, and then a look at everything that the program says: none is there."""

import asyncio
import base64
import html
import itertools
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator
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
from scaler.pb import explainer_pb2_grpc
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.settings import Settings, load
from scaler.sources.triggers import parse
from tests.security.canaries import CANARY, NAMES, Program, leaks, url_canary


def test_a_leak_would_be_found() -> None:
    said = [CANARY, url_canary("x"), json.dumps(CANARY)]
    said += [base64.b64encode(f"{'x' * before}{CANARY}:x".encode()).decode() for before in range(6)]
    said += ["".join(f"\\u00{byte:02x}" for byte in b"canary"), "%63%61%6e%61%72%79"]
    assert len(leaks("\n".join(["nothing", *said]))) == len(said)


def quotations(head: str) -> list[bytes]:
    """Return errors that quote the request `head` whole, each in another way."""
    said = head.encode("latin-1").decode(errors="replace")
    body = {"status": "error", "error": said, "__type": said, "message": said, "kind": "Status", "code": 400}
    whole, line = json.dumps(body).encode(), quote(said)
    warned = {"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": [said], "infos": [said]}
    sent = re.findall(r"Authorization: \S+ (\S+)", said) or [""]
    return [
        answer(whole, status=401, headers={"WWW-Authenticate": f'Basic realm="{line}"'}),
        answer(whole, status=302, headers={"Location": f"http://{line[:60]}@elsewhere/?token={line}"}),
        answer(whole, status=301, headers={"Location": f"/again?token={line}"}),
        answer(json.dumps(warned).encode()),
        answer(html.escape(said).encode(), status=500, headers={"x-amzn-query-error": f"{line};Sender"}),
        f"HTTP/1.1 503 {line[:2_000]}\r\n{line[:2_000]}: x\r\nContent-Length: 0\r\n\r\n".encode(),
        answer(b"", headers={"Age": sent[0], "Content-Type": line, "Content-Encoding": line}),
        answer(whole, status=400, headers={"x-amzn-query-error": "leak"}),
    ]


@pytest.fixture
async def echo() -> AsyncIterator[RawServer]:
    """A web server that answers each request with an error which quotes it whole, in one way after the other."""
    count = itertools.count()

    def tell(head: str) -> bytes:
        ways = quotations(head)
        return ways[next(count) % len(ways)]

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


@pytest.fixture
async def sentinel_echo() -> AsyncIterator[RespServer]:
    """A Sentinel that names the password which it was sent as the host of the master."""
    sent = [b"nobody"]

    def tell(command: Command) -> bytes:
        if command[0] == b"AUTH":
            sent.append(command[-1])
        named = b"*2\r\n$%d\r\n%s\r\n$4\r\n6379\r\n" % (len(sent[-1]), sent[-1])
        return named if b"GET-MASTER-ADDR-BY-NAME" in command else b"+OK\r\n"

    async with RespServer(tell) as server:
        yield server


@pytest.fixture
async def tls() -> AsyncIterator[RawServer]:
    """A TLS server with a certificate that nobody trusts, and that tells of whom it is."""
    context, server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), RawServer(answer(b""))
    authority = trustme.CA(organization_name="canary-organization", organization_unit_name="canary-unit")
    authority.issue_cert("canary.test", common_name="canary-cn").configure_cert(context)
    await server.start(tls=context)
    yield server
    await server.close()


@pytest.fixture
def program(
    tmp_path: Path, echo: RawServer, redis_echo: RespServer, sentinel_echo: RespServer, tls: RawServer
) -> Program:
    made = Program(tmp_path, echo.port, redis_echo.port, sentinel_echo.port, tls.port)
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
            carried = (
                ("authorization", "Bearer canary-call"),
                ("x-canary", "canary-value"),
                ("x-bin", b"canary-bytes"),
            )
            calls = [
                stub.GetMetricSpec(ref, metadata=carried),
                stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref, metricName="x"), metadata=carried),
                stub.IsActive(ref, metadata=carried),
                explainer.Explain(ref, metadata=carried),
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


@pytest.mark.slow
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


@pytest.mark.parametrize("style", ["json", pytest.param("console", marks=pytest.mark.slow)])
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
