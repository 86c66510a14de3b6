import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Never

import pytest
import trustme
from pydantic import SecretStr

from scaler.clients import redis_connection
from scaler.clients.addresses import Addresses
from scaler.clients.redis import RedisServer
from scaler.clients.redis_connection import CLIENT_NAME, RedisConnection
from scaler.demo.resp import RespServer, Script, array
from scaler.demo.valkey import Valkey, binary, free_port
from scaler.errors import Fault, Refused, Unavailable

ANYWHERE = Addresses()


def server(url: str, **files: Any) -> RedisServer:
    return RedisServer(url=SecretStr(url), **files)


@contextlib.asynccontextmanager
async def connected(url: str, guard: Addresses = ANYWHERE, **options: Any) -> AsyncIterator[RedisConnection]:
    files = {name: options.pop(name) for name in list(options) if name.endswith("_file")}
    connection = await RedisConnection.open(server(url, **files), guard, "redis/main", **options)
    try:
        yield connection
    finally:
        await connection.close()


async def refusal(url: str, guard: Addresses = ANYWHERE, **options: Any) -> Fault:
    """Return the fault that hinders a connection."""
    with pytest.raises(Fault) as error:
        async with connected(url, guard, **options) as connection:
            await connection.ask([("PING",)])
    return error.value


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey(password="canary-word") as started:
        yield started


# A real server


async def test_one_round_trip_answers_each_command_and_keeps_errors_in_their_place(valkey: Valkey) -> None:
    async with connected(valkey.url) as connection:
        answers = await connection.ask([("PING",), ("LLEN", "nothing"), ("GET", 1, 2), ("ECHO", b"x")])
        assert answers[:2] == [b"PONG", 0]
        assert "wrong number of arguments" in str(connection.fault(answers[2], ("GET",)))
        assert answers[3] == b"x"
        assert await connection.ask([("CLIENT", "GETNAME")]) == [CLIENT_NAME.encode()]


async def test_database_of_the_url_is_the_one_that_is_read(valkey: Valkey) -> None:
    client = valkey.client()
    await client.set("here", 1)
    await client.aclose()
    async with connected(valkey.url) as zero, connected(valkey.url.replace("/0", "/3")) as three:
        assert await zero.ask([("EXISTS", "here")]) == [1]
        assert await three.ask([("EXISTS", "here")]) == [0]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("userinfo", "told"),
    [("", "asks for a password"), (":wrong-canary@", "refuses the user name"), ("u:wrong-canary@", "refuses the user")],
    ids=["none", "wrong password", "wrong user"],
)
async def test_wrong_login_is_refused(valkey: Valkey, userinfo: str, told: str, protocol: int) -> None:
    fault = await refusal(f"redis://{userinfo}127.0.0.1:{valkey.port}/1", protocol=protocol)
    assert isinstance(fault, Refused)
    assert told in str(fault)
    assert f"redis/main (redis://127.0.0.1:{valkey.port}/1)" in str(fault)
    assert "canary" not in str(fault)


async def test_password_file_is_read_again_for_each_connection(valkey: Valkey, tmp_path: Path) -> None:
    file = tmp_path / "password"
    url = f"redis://:old-canary@127.0.0.1:{valkey.port}"
    file.write_text("not yet\n")
    assert isinstance(await refusal(url, password_file=file), Refused)
    file.write_text("canary-word\n")
    async with connected(url, password_file=file) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_missing_password_file_is_unavailable_and_named(valkey: Valkey, tmp_path: Path) -> None:
    fault = await refusal(valkey.url, password_file=tmp_path / "gone")
    assert isinstance(fault, Unavailable)
    assert "cannot read passwordFile" in str(fault)
    assert "No such file" in str(fault)


async def test_database_that_does_not_exist_is_refused(valkey: Valkey) -> None:
    fault = await refusal(valkey.url.replace("/0", "/999"))
    assert isinstance(fault, Refused)
    assert "no such database" in str(fault)


async def test_stopped_server_is_unavailable_and_comes_back() -> None:
    with Valkey() as valkey:
        async with connected(valkey.url) as connection:
            valkey.stop()
            with pytest.raises(Unavailable):
                await connection.ask([("PING",)])
        fault = await refusal(valkey.url)
        assert isinstance(fault, Unavailable)
        assert "Connect call failed" in str(fault) or "refused" in str(fault)
        valkey.start()
        async with connected(valkey.url) as connection:
            assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_cluster_is_refused_with_the_reason() -> None:
    with Valkey(config={"cluster-enabled": "yes"}) as valkey:
        async with connected(valkey.url) as connection:
            (answer,) = await connection.ask([("LLEN", "queue:default")])
            fault = connection.fault(answer, ("LLEN", "queue:default"))
    assert isinstance(fault, Refused)
    assert "Sidekiq does not run on one" in str(fault)


async def test_user_without_the_right_to_a_command_is_told_which(valkey: Valkey) -> None:
    admin = valkey.client()
    await admin.execute_command("ACL", "SETUSER", "reader", "on", ">canary-word", "~*", "+llen", "-client")
    await admin.aclose()
    async with connected(f"redis://reader:canary-word@127.0.0.1:{valkey.port}") as connection:
        length, members = await connection.ask([("LLEN", "queue:default"), ("SMEMBERS", "processes")])
        assert length == 0
        fault = connection.fault(members, ("SMEMBERS", "processes"))
    assert isinstance(fault, Refused)
    assert "may not run SMEMBERS processes; give it the access rules of docs/sidekiq.md" in str(fault)


# TLS: the wheel's Valkey has none, so something like stunnel stands before it


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@contextlib.asynccontextmanager
async def tls_before(
    valkey: Valkey, certificate: trustme.LeafCert, client_ca: trustme.CA | None = None
) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(pump(reader, back), pump(there, writer))
        for end in (writer, back):
            with contextlib.suppress(OSError):
                await end.wait_closed()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.sleep(0)


async def test_tls_with_an_authority_of_ones_own(valkey: Valkey, authority: trustme.CA, tmp_path: Path) -> None:
    async with (
        tls_before(valkey, authority.issue_cert("localhost")) as port,
        connected(f"rediss://:canary-word@localhost:{port}", ca_file=tmp_path / "ca.pem") as connection,
    ):
        assert await connection.ask([("PING",)]) == [b"PONG"]


@pytest.mark.parametrize(
    ("host", "known", "told"),
    [("127.0.0.1", "same", "IP address mismatch"), ("localhost", "other", "certificate verify failed")],
    ids=["another host", "unknown authority"],
)
async def test_tls_verifies_host_and_authority(
    valkey: Valkey, tmp_path: Path, host: str, known: str, told: str
) -> None:
    signer = trustme.CA()
    (signer if known == "same" else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    async with tls_before(valkey, signer.issue_cert("localhost")) as port:
        fault = await refusal(f"rediss://:canary-word@{host}:{port}", ca_file=tmp_path / "ca.pem")
    assert isinstance(fault, Unavailable)
    assert told in str(fault)
    assert "canary" not in str(fault)


async def test_client_certificate_is_shown(valkey: Valkey, authority: trustme.CA, tmp_path: Path) -> None:
    authority.issue_cert("scaler").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    files = {"ca_file": tmp_path / "ca.pem", "cert_file": tmp_path / "client.pem"}
    async with tls_before(valkey, authority.issue_cert("localhost"), client_ca=authority) as port:
        url = f"rediss://:canary-word@localhost:{port}"
        async with connected(url, **files) as connection:
            assert await connection.ask([("PING",)]) == [b"PONG"]
        assert isinstance(await refusal(url, ca_file=tmp_path / "ca.pem"), Unavailable)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "garbage"])
async def test_unusable_certificate_file_is_unavailable(valkey: Valkey, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    fault = await refusal(f"rediss://localhost:{valkey.port}", ca_file=tmp_path / "ca.pem")
    assert isinstance(fault, Unavailable)
    assert "cannot use caFile" in str(fault)


async def test_plain_server_behind_a_tls_url_is_unavailable(valkey: Valkey) -> None:
    fault = await refusal(f"rediss://localhost:{valkey.port}", seconds=0.3)
    assert isinstance(fault, Unavailable)


# The guard


async def test_loopback_is_refused_where_it_is_not_allowed(valkey: Valkey) -> None:
    fault = await refusal(valkey.url, Addresses(allow_loopback=False))
    assert isinstance(fault, Refused)
    assert "127.0.0.1 is refused" in str(fault)


async def test_name_is_judged_by_the_address_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads somewhere else the second time is not looked up a second time."""
    looked_up = []

    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    fault = await refusal("redis://innocent.example")
    assert isinstance(fault, Refused)
    assert "169.254.169.254 is refused" in str(fault)
    assert looked_up == ["innocent.example"]


async def test_connection_goes_to_the_address_that_was_judged(monkeypatch: pytest.MonkeyPatch, valkey: Valkey) -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])

    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with connected(valkey.url.replace("127.0.0.1", "rebound.example")) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch, valkey: Valkey) -> None:
    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        nobody = ("127.0.0.1", free_port())
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (nobody, ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with connected(valkey.url.replace("127.0.0.1", "twice.example")) as connection:
        assert await connection.ask([("PING",)]) == [b"PONG"]


async def test_name_that_does_not_resolve_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int, **options: Any) -> Never:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    assert "cannot be resolved" in str(await refusal("redis://nowhere.example"))


# A server that misbehaves


def login_then(answer: bytes | None) -> Script:
    return lambda command: b"+OK\r\n" if command[0] == b"CLIENT" else answer


async def test_server_that_does_not_answer_is_unavailable_in_time() -> None:
    async with RespServer(login_then(None)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
            await connection.ask([("PING",)], seconds=0.05)


async def test_server_that_hangs_in_the_login_is_unavailable_in_time() -> None:
    async with RespServer(lambda _: None) as fake:
        fault = await refusal(f"redis://:canary@127.0.0.1:{fake.port}", seconds=0.05)
    assert "no answer within 0.05 s" in str(fault)


@pytest.mark.parametrize(
    "answer",
    [b"hello\r\n", b"*-7\r\n", b"$-9\r\n", b"*99999999999999999999\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["no type", "length", "bulk", "huge length", "http"],
)
async def test_what_is_not_the_protocol_is_unavailable(answer: bytes) -> None:
    async with RespServer(login_then(answer)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match="cannot be understood"):
            await connection.ask([("PING",)])


async def test_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "MAX_ANSWER_BYTES", 1 << 20)
    endless = b"$536870912\r\n" + b"x" * (2 << 20)
    async with RespServer(login_then(endless)) as fake, connected(f"redis://127.0.0.1:{fake.port}") as connection:
        with pytest.raises(Unavailable, match="more than 1 MiB of answers"):
            await connection.ask([("PING",)])


async def test_limit_counts_for_each_round_trip_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "MAX_ANSWER_BYTES", 1_000)
    async with (
        RespServer(login_then(array(b"x" * 600))) as fake,
        connected(f"redis://127.0.0.1:{fake.port}") as connection,
    ):
        for _ in range(3):
            assert await connection.ask([("PING",)]) == [[b"x" * 600]]


@pytest.mark.parametrize("text", ["LOADING Redis is loading", "NOAUTH Authentication required."])
async def test_error_of_the_whole_server_ends_the_round_trip(text: str) -> None:
    async with (
        RespServer(login_then(f"-{text}\r\n".encode())) as fake,
        connected(f"redis://127.0.0.1:{fake.port}") as connection,
    ):
        with pytest.raises(Fault):
            await connection.ask([("PING",)])


async def test_closed_connection_is_not_made_again() -> None:
    async with RespServer() as fake:
        async with connected(f"redis://127.0.0.1:{fake.port}") as connection:
            await connection.close()
            with pytest.raises(Unavailable, match="connection is lost"):
                await connection.ask([("PING",)])
        assert [b"PING"] not in fake.commands


# Sentinel


def sentinel_answer(answer: bytes) -> Script:
    return lambda command: answer if command[0] == b"SENTINEL" else b"+OK\r\n"


def role_answer(role: bytes) -> Script:
    return lambda command: array(role, b"0") if command[0] == b"ROLE" else b"+PONG\r\n"


async def test_master_is_asked_of_the_next_sentinel_and_its_role_is_checked() -> None:
    async with RespServer(role_answer(b"master")) as master:
        told = sentinel_answer(array(b"127.0.0.1", str(master.port).encode()))
        async with RespServer(told) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/shop"
            async with connected(url) as connection:
                assert await connection.ask([("PING",)]) == [b"PONG"]
                master.answer = role_answer(b"slave")
                with pytest.raises(Unavailable, match="no master any more"):
                    await connection.ask([("PING",)])
    assert [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"shop"] in sentinel.commands


async def test_sentinel_password_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "sentinel").write_text("sentinel-canary\n")
    (tmp_path / "redis").write_text("redis-canary\n")
    async with RespServer(role_answer(b"master")) as master:
        master.answer = lambda command: b"+OK\r\n" if command[0] == b"AUTH" else role_answer(b"master")(command)
        async with RespServer(sentinel_answer(array(b"127.0.0.1", str(master.port).encode()))) as sentinel:
            files = {"password_file": tmp_path / "redis", "sentinel_password_file": tmp_path / "sentinel"}
            async with connected(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop", **files) as connection:
                await connection.ask([("PING",)])
    assert [b"AUTH", b"sentinel-canary"] in sentinel.commands
    assert [b"AUTH", b"redis-canary"] in master.commands


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (b"$-1\r\n", Refused, "knows no master named shop"),
        (b"-NOAUTH Authentication required.\r\n", Refused, "asks for a password"),
        (b"-ERR unknown command 'SENTINEL'\r\n", Unavailable, "unknown command"),
        (array(b"127.0.0.1"), Unavailable, "cannot be understood"),
        (b":1\r\n", Unavailable, "cannot be understood"),
        (array(b"169.254.169.254", b"6379"), Refused, "169.254.169.254 is refused"),
    ],
    ids=["unknown", "password", "no sentinel", "half", "number", "metadata address"],
)
async def test_sentinel_that_does_not_help_is_told(answer: bytes, kind: type[Fault], told: str) -> None:
    async with RespServer(sentinel_answer(answer)) as sentinel:
        fault = await refusal(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop")
    assert type(fault) is kind
    assert told in str(fault)


async def test_new_master_is_found_after_a_real_failover(tmp_path: Path) -> None:
    with Valkey() as first, Valkey(config={"repl-diskless-sync-delay": 0}) as second:
        replica = second.client()
        await replica.replicaof("127.0.0.1", first.port)
        port = free_port()
        (tmp_path / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {port}\ndir {tmp_path}\nsentinel monitor shop 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 2000\n"
        )
        sentinel = subprocess.Popen(  # noqa: ASYNC220 - it is only started here
            [binary(), tmp_path / "sentinel.conf", "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        url = f"redis+sentinel://127.0.0.1:{port}/shop/0"

        async def master_port() -> int:
            async with connected(url) as connection:
                (told,) = await connection.ask([("CONFIG", "GET", "port")])
                return int(told[1])

        try:
            async with asyncio.timeout(30):
                while True:  # until the Sentinel knows the replica
                    with contextlib.suppress(Unavailable):
                        if await master_port() == first.port and await _replicas(port):
                            break
                    await asyncio.sleep(0.1)
                first.stop()
                faults = 0
                while True:
                    try:
                        assert await master_port() == second.port
                        break
                    except Unavailable:
                        faults += 1
                    await asyncio.sleep(0.1)
                assert faults
        finally:
            sentinel.terminate()
            sentinel.wait()
            await replica.aclose()


async def _replicas(sentinel_port: int) -> list[Any]:
    async with connected(f"redis://127.0.0.1:{sentinel_port}") as connection:
        (told,) = await connection.ask([("SENTINEL", "REPLICAS", "shop")])
        return [
            dict(zip(one[::2], one[1::2], strict=True))
            for one in told
            if b"master-link-status" in one and one[one.index(b"master-link-status") + 1] == b"ok"
        ]
