"""Credentials for the Kubernetes API: tokens and certificates, renewed when their files change or they expire."""

import asyncio
import json
import os
import signal
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from scaler.clients.http.tls import client_context
from scaler.clients.kubernetes.config import NO_PEM, Cluster, ExecPlugin, Pem
from scaler.core.clock import Clock, deadline
from scaler.core.errors import Refused, Unavailable

PLUGIN_SECONDS = 30.0
RENEW_BEFORE_SECONDS = 30.0  # so that a token does not expire on the way


@dataclass(frozen=True, slots=True)
class ExecCredential:
    """The output of a plugin: a token, a client certificate, or both; `expires` is Unix time, None for never."""

    token: str = field(default="", repr=False)
    certificate: Pem = NO_PEM
    key: Pem = NO_PEM
    expires: float | None = None


class Credentials:
    """The credentials of one `Cluster`, as headers and as TLS context, updated when their files change."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._issued: ExecCredential | None = None
        self._running = asyncio.Lock()  # so that the plugin runs once for all waiting requests
        self._tls: tuple[object, ssl.SSLContext] | None = None

    def renew(self) -> bool:
        """Note that the server did not accept the credentials; tell whether another try may succeed."""
        renewable = self._issued is not None or self._cluster.token_file is not None
        self._issued = None
        return renewable

    async def headers(self) -> dict[str, str]:
        """Return the headers with the credentials; raises `Fault`."""
        token = (await self._issue()).token or self._cluster.token
        if self._cluster.token_file:  # read each time: a rotated token is used at once, in client-go after up to a
            # minute
            token = _read_token(self._cluster.token_file)
        if not token.isprintable():
            raise Refused(f"the token for {self._cluster.server} holds characters that no token has")
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def tls(self) -> ssl.SSLContext | bool:
        """Return the TLS context for the server, True for plain HTTP; raises `Fault`."""
        cluster, issued = self._cluster, await self._issue()
        if cluster.server.startswith("http://"):
            return True
        certificate, key = (
            (issued.certificate, issued.key) if issued.certificate else (cluster.certificate, cluster.key)
        )
        made_of = [part if part.text else _changed(part.file) for part in (cluster.ca, certificate, key) if part]
        if self._tls is None or self._tls[0] != made_of:
            self._tls = made_of, await asyncio.to_thread(_context, cluster, certificate, key)
        return self._tls[1]

    async def _issue(self) -> ExecCredential:
        if self._cluster.plugin is None:
            return ExecCredential()
        async with self._running:
            expires = self._issued.expires if self._issued else None
            if self._issued is None or (expires is not None and expires - RENEW_BEFORE_SECONDS < self._clock.wall()):
                self._issued = parse_exec_credential(
                    await _run(self._cluster.plugin, self._clock), self._cluster.plugin
                )
            return self._issued


def parse_exec_credential(text: bytes, plugin: ExecPlugin) -> ExecCredential:
    """Parse the output of a plugin (client.authentication.k8s.io `ExecCredential`); raises `Unavailable`."""
    try:
        document = json.loads(text)
        ours = document["apiVersion"] == plugin.api_version and document["kind"] == "ExecCredential"
        status = document["status"] if ours else {}
        token, certificate, key = (
            str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")
        )
        expiry = status.get("expirationTimestamp")
        expires = datetime.fromisoformat(expiry).timestamp() if expiry else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        token = certificate = key = ""
    if not token and not (certificate and key):  # the output is not quoted, as it may have a secret
        raise Unavailable(f"credential plugin {plugin.name} printed no usable ExecCredential of {plugin.api_version}")
    return ExecCredential(token, Pem(text=certificate), Pem(text=key), expires)


async def _run(plugin: ExecPlugin, clock: Clock) -> bytes:
    spec = {"interactive": False} | ({"cluster": plugin.cluster} if plugin.cluster is not None else {})
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            env={**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that processes started by the command can be ended with it
        )
    except OSError as error:
        hint = f"; {plugin.install_hint}" if plugin.install_hint else ""
        raise Refused(f"credential plugin {plugin.name} cannot be run: {error.strerror}{hint}") from None
    talk = asyncio.ensure_future(process.communicate())
    try:
        with deadline(clock, PLUGIN_SECONDS):
            printed, complaint = await asyncio.shield(talk)
    except TimeoutError:
        raise Unavailable(f"credential plugin {plugin.name} did not end within {PLUGIN_SECONDS:.0f} s") from None
    finally:
        if not talk.done():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await talk  # so that the process has ended and its pipes are closed
    if process.returncode != 0:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2][:200]
        raise Unavailable(f"credential plugin {plugin.name} failed with exit code {process.returncode}: {last}")
    return printed


def _read_token(file: Path) -> str:
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"token file {file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    if not token:
        raise Refused(f"token file {file} holds no token")
    return token


def _changed(file: Path | None) -> object:
    try:
        return file and (file, file.stat().st_mtime_ns)
    except OSError:
        return file  # reading it will raise the reason


def _context(cluster: Cluster, certificate: Pem, key: Pem) -> ssl.SSLContext:
    part, unfit = "certificate-authority", "it holds no certificate in PEM"
    try:
        context = client_context(ca=cluster.ca.read() or None)
        if not cluster.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            part, unfit = "client-certificate", "not PEM, or of another key" if key else "there is no client-key to it"
            with tempfile.NamedTemporaryFile("w") as pem:  # ssl loads certificates from files only; this one has mode
                # 0600
                pem.write(f"{certificate.read()}\n{key.read()}\n")
                pem.flush()
                context.load_cert_chain(pem.name)
    except OSError as error:  # also ssl.SSLError
        why = f"{file}: {error.strerror}" if (file := error.filename) else unfit
        raise Refused(f"the {part} for {cluster.server} cannot be used: {why}") from None
    return context
