"""What `explain --at` reads out of a journal: as a table of moments over one night, in words, and from a real server."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from rich.text import Text
from typer.testing import CliRunner

from scaler.cli import app, main
from scaler.commands.at import exit_code
from scaler.commands.journal import Frame, Journal, lines, then
from scaler.commands.page_api import ApiError, api_at, page_url

BEGAN = 1_764_295_200.0  # 2025-11-28 02:00:00 UTC
FAULT = "SQS queue orders: no answer within 5 s"
NIGHT: dict[str, Any] = {
    "namespace": "shop",
    "name": "orders",
    "source": "sqs",
    "specs": [{"name": "sqs-orders", "target": 5.0}],
    "since": BEGAN,
    "lastAsked": BEGAN + 9_000,
    "streams": 1,
    "events": [
        {"at": BEGAN, "kind": "inactive"},
        {"at": BEGAN, "kind": "value", "values": [0.0]},
        {"at": BEGAN + 600, "kind": "active"},
        {"at": BEGAN + 600, "kind": "value", "values": [120.0]},
        {"at": BEGAN + 1_000, "kind": "fault", "message": FAULT},
        {"at": BEGAN + 1_060, "kind": "held", "active": True, "message": FAULT},
        {"at": BEGAN + 4_660, "kind": "error", "code": "UNAVAILABLE", "message": FAULT},
        {"at": BEGAN + 4_700, "kind": "healed"},
        {"at": BEGAN + 4_700, "kind": "settling", "active": True},
        {"at": BEGAN + 4_760, "kind": "active"},
        {"at": BEGAN + 4_760, "kind": "value", "values": [60.0]},
        {"at": BEGAN + 6_000, "kind": "stream", "open": 1},
        {"at": BEGAN + 8_000, "kind": "asked", "after": 1_200.0},
    ],
}
REFUSED: dict[str, Any] = {
    **NIGHT,
    "source": "",
    "specs": [],
    "events": [
        {
            "at": BEGAN + 100,
            "kind": "refused",
            "code": "INVALID_ARGUMENT",
            "message": "queus: unknown key",
            "count": 220,
            "until": BEGAN + 5_000,
        }
    ],
}
ANSWER = {"since": BEGAN, "now": BEGAN + 9_010, "omitted": 0, "triggers": [NIGHT]}


@pytest.mark.parametrize(
    ("after", "state", "value", "fault", "silence"),
    [
        (-1, "unknown", None, False, None),
        (0, "inactive", [0.0], False, None),
        (599, "inactive", [0.0], False, None),
        (600, "active", [120.0], False, None),
        (1_030, "active", [120.0], True, None),
        (2_000, "held", [120.0], True, None),
        (4_670, "error", [120.0], True, None),
        (4_730, "settling", [120.0], False, None),
        (5_000, "active", [60.0], False, None),
        (6_799, "active", [60.0], False, None),
        (7_000, "active", [60.0], False, (BEGAN + 6_800, BEGAN + 8_000)),
        (8_000, "active", [60.0], False, None),
        (9_090, "active", [60.0], False, None),
        (9_200, "active", [60.0], False, (BEGAN + 9_000, None)),
    ],
)
def test_what_was_so(
    after: float, state: str, value: list[float] | None, *, fault: bool, silence: tuple[float, float | None] | None
) -> None:
    was = then(NIGHT, BEGAN + after)
    assert was.word == state
    assert (None if was.value is None else was.value["values"]) == value
    assert (was.fault is not None) == fault
    assert was.silence == silence


@pytest.mark.parametrize(("after", "word"), [(99, "unknown"), (100, "error"), (5_050, "error"), (6_000, "unknown")])
def test_a_refusal_counts_while_it_is_told(after: float, word: str) -> None:
    assert then(REFUSED, BEGAN + after).word == word


def told(after: float, answer: dict[str, Any] = ANSWER, around: float = 900, server: str = "") -> str:
    found = lines(Journal.of(answer, server), Frame(BEGAN + after, around, UTC))
    return "\n".join(Text.from_markup(line, emoji=False).plain for line in found)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            700,
            ["sqs-orders: active", "since 02:10:00: sqs-orders = 120, 24 times its target 5", "02:11:40 ← asked for"],
        ),
        (2_000, ["sqs-orders: held", f"since 02:17:40: held, active: {FAULT}"]),
        (1_030, ["since 02:16:40: a read fails"]),
        (4_670, ["sqs-orders: error", f"UNAVAILABLE: {FAULT}", "03:18:20 all reads are good again"]),
        (4_730, ["settling, active: less is read since trouble"]),
        (7_000, ["KEDA had not asked since 03:53:20, for 3 min, and asked again at 04:13:20"]),
        (9_300, ["KEDA had not asked since 04:30:00, for 5 min, and has not asked since", "streams: 1"]),
        (3_000, ["nothing changed between 02:35:00 and 03:05:00"]),
        (-60, ["nothing is known of 01:59:00: this server's journal begins at 02:00:00"]),
    ],
)
def test_what_is_said(after: float, said: list[str]) -> None:
    text = told(after)
    for each in said:
        assert each in text, text


def test_a_moment_long_before_the_journal_tells_of_no_trigger() -> None:
    assert told(-86_400).count("\n") == 0
    assert "11-27" not in told(-60)


def test_a_server_is_named_where_there_are_several() -> None:
    assert told(700, server="pod-a").startswith("as told by pod-a\n")


def test_nobody_and_never_and_refused_are_told_apart() -> None:
    assert "KEDA has not asked this server about it" in told(0, {**ANSWER, "triggers": []})
    never = {**NIGHT, "lastAsked": None, "events": []}
    assert "KEDA has never asked this server" in told(0, {**ANSWER, "triggers": [never]})
    assert "the metadata was refused: INVALID_ARGUMENT: queus: unknown key" in told(
        900, {**ANSWER, "triggers": [REFUSED]}
    )


def test_of_very_many_events_the_nearest_are_told() -> None:
    many = [{"at": BEGAN + second, "kind": "value", "values": [float(second)]} for second in range(600)]
    text = told(300, {**ANSWER, "triggers": [{**NIGHT, "events": many}]})
    assert "560 left out" in text
    assert "sqs-orders = 301," in text
    assert "sqs-orders = 599," not in text


def test_markup_in_a_message_stays_text() -> None:
    event = {"at": BEGAN, "kind": "error", "code": "UNAVAILABLE", "message": "[/red] {0} [bold] :x: x"}
    assert "UNAVAILABLE: [/red] {0} [bold] :x: x" in told(1, {**ANSWER, "triggers": [{**NIGHT, "events": [event]}]})


@pytest.mark.parametrize(
    ("after", "triggers", "code"),
    [(700, [NIGHT], 0), (4_670, [NIGHT], 1), (-60, [NIGHT], 1), (0, [], 1), (900, [NIGHT, REFUSED], 1)],
)
def test_exit_codes(after: float, triggers: list[dict[str, Any]], code: int) -> None:
    assert exit_code([Journal(BEGAN, tuple(triggers))], BEGAN + after) == code


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
