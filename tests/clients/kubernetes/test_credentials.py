import asyncio
import json
import os
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trustme

from scaler.clients.kubernetes.config import Cluster, ExecPlugin, Pem
from scaler.clients.kubernetes.credentials import PLUGIN_SECONDS, Credentials, parse_exec_credential
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.clock import ManualClock

CANARY = "c4n4ry-s3cr3t"
API_VERSION = "client.authentication.k8s.io/v1"
SERVER = "https://api.example:6443"

PLUGIN = """
import json, os, pathlib, sys
runs = pathlib.Path(sys.argv[1])
runs.write_text(runs.read_text() + "x")
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert asked["spec"] == {"interactive": False, "cluster": {"server": "https://api.example:6443"}}, asked
status = {"token": f"token {len(runs.read_text())} {os.environ['EXTRA']}", "expirationTimestamp": sys.argv[2]}
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def plugin(*args: str, command: str = sys.executable) -> ExecPlugin:
    env = (("EXTRA", "with env"),)
    return ExecPlugin(command, args, env, API_VERSION, "install it with care", {"server": SERVER})


async def token(credentials: Credentials) -> str:
    return (await credentials.headers()).get("Authorization", "")


async def test_token_file_is_read_again_when_it_rotates(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    credentials = Credentials(Cluster(SERVER, token_file=file), ManualClock())

    assert await token(credentials) == "Bearer one"
    file.write_text("two\n")
    assert await token(credentials) == "Bearer two"


async def test_static_token_and_none() -> None:
    assert await token(Credentials(Cluster(SERVER, token="fixed"), ManualClock())) == "Bearer fixed"
    assert await token(Credentials(Cluster("http://127.0.0.1:8001"), ManualClock())) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param("\n", "holds no token", id="empty"),
        pytest.param(f"{CANARY}\r\nX-Injected: 1", "holds characters that no token has", id="header injection"),
    ],
)
async def test_token_file_without_a_token(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)

    with pytest.raises(Refused, match=message) as refused:
        await token(Credentials(Cluster(SERVER, token_file=file), ManualClock()))

    assert CANARY not in str(refused.value)


async def test_plugin_runs_once_until_its_token_is_refused_or_expires(tmp_path: Path) -> None:
    script, runs = tmp_path / "plugin.py", tmp_path / "runs"
    script.write_text(PLUGIN)
    runs.write_text("")
    clock = ManualClock(wall=1_800_000_000.0)  # 2027-01-15T08:00:00Z
    used = plugin(str(script), str(runs), "2027-01-15T08:15:00Z")
    credentials = Credentials(Cluster(SERVER, plugin=used), clock)

    both = await asyncio.gather(token(credentials), token(credentials))
    assert both == ["Bearer token 1 with env"] * 2
    assert credentials.renew()  # the server said 401
    assert await token(credentials) == "Bearer token 2 with env"

    await clock.advance(15 * 60 - 31)
    assert await token(credentials) == "Bearer token 2 with env"
    await clock.advance(2)
    assert await token(credentials) == "Bearer token 3 with env"


@pytest.mark.parametrize(
    ("used", "error", "message"),
    [
        pytest.param(plugin(command="no-such-plugin"), Refused, "no-such-plugin cannot be run", id="not installed"),
        pytest.param(plugin("-c", "print('{}')"), Unavailable, "printed no usable ExecCredential", id="empty"),
        pytest.param(
            plugin("-c", "import sys; print('a', file=sys.stderr); sys.exit('Unable to locate credentials')"),
            Unavailable,
            "failed with exit code 1: Unable to locate credentials",
            id="fails",
        ),
    ],
)
async def test_plugin_that_fails(used: ExecPlugin, error: type[Fault], message: str) -> None:
    with pytest.raises(error, match=message):
        await token(Credentials(Cluster(SERVER, plugin=used), ManualClock()))


async def test_plugin_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.write_text("")
    script = f"echo $$ >> {pids}; sleep 100 & echo $! >> {pids}; echo ready >> {pids}; wait"
    clock = ManualClock()
    credentials = Credentials(Cluster(SERVER, plugin=plugin("-c", script, command="/bin/sh")), clock)

    asking = asyncio.create_task(token(credentials))
    async with asyncio.timeout(10):
        while "ready" not in pids.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    await clock.advance(PLUGIN_SECONDS)
    with pytest.raises(Unavailable, match="did not end within 30 s"):
        await asyncio.wait_for(asking, 10)

    shell, child, _ = pids.read_text().split()
    assert not psutil.pid_exists(int(shell))
    with suppress(psutil.NoSuchProcess):  # unless it waits for init to collect it
        assert psutil.Process(int(child)).status() == psutil.STATUS_ZOMBIE
    assert clock.pending == 0


def credential(**status: object) -> bytes:
    return json.dumps({"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}).encode()


def test_plugin_may_print_a_client_certificate() -> None:
    found = parse_exec_credential(credential(clientCertificateData="cert", clientKeyData="key"), plugin())

    assert (found.certificate.read(), found.key.read(), found.expires) == ("cert", "key", None)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'["' + CANARY.encode() + b'"]', id="list"),
        pytest.param(credential(), id="no token"),
        pytest.param(credential(clientCertificateData="cert"), id="no key"),
        pytest.param(credential(token=CANARY, expirationTimestamp="soon"), id="expiry is no time"),
        pytest.param(credential(token=CANARY, expirationTimestamp=7), id="expiry is a number"),
        pytest.param(credential(token=CANARY).replace(b"/v1", b"/v9"), id="other version"),
        pytest.param(credential(token=CANARY).replace(b"ExecCred", b"Cred"), id="other kind"),
        pytest.param(
            b'{"apiVersion":"' + API_VERSION.encode() + b'","kind":"ExecCredential","status":[]}', id="status"
        ),
    ],
)
def test_what_a_plugin_prints_is_not_believed(text: bytes) -> None:
    with pytest.raises(Unavailable, match="printed no usable ExecCredential") as fault:
        parse_exec_credential(text, plugin())

    assert CANARY not in str(fault.value)


async def test_tls_context_is_made_anew_when_its_files_change(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(ca_file)
    credentials = Credentials(Cluster(SERVER, ca=Pem(ca_file)), ManualClock())

    first = await credentials.tls()
    assert await credentials.tls() is first
    trustme.CA().cert_pem.write_to_path(ca_file)
    os.utime(ca_file, ns=(1, 1))
    second = await credentials.tls()

    assert second is not first
    assert isinstance(second, ssl.SSLContext)
    assert (second.verify_mode, second.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert second.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_tls_is_checked_unless_told_otherwise() -> None:
    context = await Credentials(Cluster(SERVER, verify=False), ManualClock()).tls()

    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (Cluster(SERVER, ca=Pem(Path("/nowhere/ca.crt"))), "certificate-authority .*: /nowhere/ca.crt: No such file"),
        (Cluster(SERVER, ca=Pem(text=f"no PEM {CANARY}")), "certificate-authority .* holds no certificate in PEM"),
        (Cluster(SERVER, certificate=Pem(text=CANARY), key=Pem(text=CANARY)), "client-certificate .* not PEM"),
        (Cluster(SERVER, certificate=Pem(text=CANARY)), "client-certificate .* there is no client-key to it"),
    ],
    ids=["CA file missing", "CA is no PEM", "client is no PEM", "client without key"],
)
async def test_certificates_that_cannot_be_used(cluster: Cluster, why: str) -> None:
    with pytest.raises(Fault, match=why) as fault:
        await Credentials(cluster, ManualClock()).tls()

    assert CANARY not in str(fault.value)
