"""`explain --at` as a command: which addresses it takes, and what it says to change."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from typer.testing import CliRunner

from scaler.cli import app, main
from scaler.commands.page_api import ApiError, api_at, page_url
from tests.commands.night import ANSWER


@pytest.fixture
async def page(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Serve the journal as a server with a token does; yield its address."""

    async def journal(asked: web.Request) -> web.Response:
        if asked.headers.get("Authorization") != "Bearer s3same":
            return web.json_response({"error": "a bearer token is needed"}, status=401)
        assert asked.query["namespace"] == "shop"
        return web.json_response(ANSWER)

    async def text(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    served = web.Application()
    served.router.add_get("/api/journal", journal)
    served.router.add_get("/text", text)
    runner = web.AppRunner(served)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_api_says_what_to_change(page: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with api_at(page) as api:
        with pytest.raises(ApiError, match="the page wants a token; give --token-file"):
            await api.get("api/journal", {"namespace": "shop"})
        with pytest.raises(ApiError, match="text is no JSON of this scaler"):
            await api.get("text")
        with pytest.raises(ApiError, match="is answered with 404; the page is off"):
            await api.get("api/nothing")
    token.write_text("s3same\n")
    async with api_at(f"http://{page}", token) as api:
        assert (await api.get("api/journal", {"namespace": "shop"})) == ANSWER
    token.write_text("other\n")
    async with api_at(page, token) as api:
        with pytest.raises(ApiError, match=r"refuses the token in .*token; page\.tokenFile of the server has it"):
            await api.get("api/journal", {"namespace": "shop"})
    token.write_text("two words")
    with pytest.raises(ApiError, match="must hold one token"):
        async with api_at(page, token):
            pass
    async with api_at("127.0.0.1:1") as api:
        with pytest.raises(ApiError, match=r"Connection refused; .* port 9091 by default"):
            await api.get("api/journal")
    async with api_at(f"https://{page}") as api:
        with pytest.raises(ApiError, match=r"nothing speaks TLS there; .*: write http://"):
            await api.get("api/journal")


async def test_behind_an_ingress_with_tls_each_advice_can_be_followed(tmp_path: Path) -> None:
    ca, files = trustme.CA(), {"right": tmp_path / "ca.crt", "wrong": tmp_path / "other.crt"}
    ca.cert_pem.write_to_path(files["right"])
    trustme.CA().cert_pem.write_to_path(files["wrong"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(ANSWER)

    served = web.Application()
    served.router.add_get("/api/journal", answer)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]

    async def told(address: str, file: str | None) -> str:
        async with api_at(address, ca=file and files[file]) as api:
            try:
                return str(await api.get("api/journal") == ANSWER)
            except ApiError as error:
                return str(error)

    try:
        assert "if it speaks https, write https://HOST:PORT" in await told(f"127.0.0.1:{port}", None)
        assert "give --ca" in await told(f"https://127.0.0.1:{port}", None)
        assert "does not follow from --ca" in await told(f"https://127.0.0.1:{port}", "wrong")
        assert "Write a name that it is for in the URL" in await told(f"https://127.0.0.1:{port}", "right")
        assert await told(f"https://localhost:{port}", "right") == "True"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:9091", "http://127.0.0.1:9091/"),
        ("[::1]:9091", "http://[::1]:9091/"),
        ("https://scaler.example.com/keda", "https://scaler.example.com/keda/"),
        ("http://host:1/?token=x", "http://host:1/"),
    ],
)
def test_an_address_or_a_url(address: str, url: str) -> None:
    assert str(page_url(address)) == url


@pytest.mark.parametrize("address", ["host", "9091", "", "ftp://host:1", "http://", "host:port"])
def test_no_address(address: str) -> None:
    with pytest.raises(ApiError, match="must be HOST:PORT"):
        page_url(address)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "shop", "--at", "soon", "--http", "h:1"], "--at: 'soon' is no time"),
        (["-n", "shop", "--at", "-5m"], "give --http HOST:PORT of the server's status page, or --forward"),
        (["-n", "shop", "--at", "-5m", "--around", "x", "--http", "h:1"], "--around: 'x' is no length of time"),
        (["-n", "shop", "--at", "-5m", "--forward", "--http", "h:1"], "leave the address away"),
        (["-n", "shop", "--service", "a/b"], "--service says where --forward goes to"),
        (["--at", "-5m"], "give either FILE"),
        (["so.yaml", "--name", "orders"], "--name chooses one of --namespace"),
        (["-n", "shop", "--http", "h:1"], "--http is where --at reads the journal"),
    ],
)
def test_a_wrong_command_line(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["scaler", "explain", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capfd.readouterr().err


async def test_the_command_asks_the_journal_and_no_cluster(page: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3same")
    arguments = ["explain", "-n", "shop", "--name", "orders", "--at", "2025-11-28T02:11:40Z", "--http", page]
    arguments += ["--token-file", str(tmp_path / "token")]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"TZ": "UTC"})
    assert result.exit_code == 0, result.output
    assert "2025-11-28 02:11:40 UTC" in result.output
    assert "sqs-orders = 120, 24 times its target 5" in result.output
    as_json = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--output", "json"])
    (asked,) = json.loads(as_json.stdout)
    (trigger,) = asked["servers"][0]["triggers"]
    assert trigger["state"] == "active"
    assert trigger["then"]["value"]["values"] == [120.0]
    assert all(asked["from"] <= event["at"] <= asked["to"] for event in trigger["events"])
