"""Forwards a port of the server in the cluster by `kubectl port-forward`, as long as a command needs it."""

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer

from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import ScalerError

LABELS = "app.kubernetes.io/part-of=keda-queue-scaler,app.kubernetes.io/component=external-scaler"
"""The labels of the chart's Service, whatever the names of release and chart are."""
START_SECONDS, LIST_SECONDS, END_SECONDS = 20.0, 30.0, 5.0
_FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1|\[::1\]):(\d+) -> \d+")

_Answer = TypeVar("_Answer")


class ForwardError(ScalerError):
    """The server in the cluster is not found, or its port cannot be forwarded."""

    code = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Calls kubectl with the kubeconfig and context of the command line or the configuration."""

    kubeconfig: Path | None = None
    context: str | None = None

    @classmethod
    def of(cls, settings: KubernetesSettings) -> "Kubectl":
        """Return a Kubectl for the cluster of `settings`."""
        return cls(settings.kubeconfig, settings.context)

    def command(self, *words: str) -> list[str]:
        """Return the command line; raises `ForwardError` without a kubectl."""
        program = shutil.which("kubectl")
        if program is None:
            raise ForwardError("--forward needs kubectl, which is not in PATH; or give --address instead")
        flags = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        flags += [f"--context={self.context}"] if self.context else []
        return [program, *flags, *words]

    async def get(self, *words: str) -> Mapping[str, Any]:
        """Return the JSON of `kubectl get`; raises `ForwardError` with kubectl's message."""
        command = self.command("get", *words, "--output=json", f"--request-timeout={LIST_SECONDS:g}s")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with _ending(process):
            out, err = await process.communicate()
        if process.returncode:
            raise ForwardError(f"kubectl get {words[0]}: {_last_line(err)}{_hint(err, words)}")
        try:
            found = json.loads(out)
        except ValueError:
            raise ForwardError(f"kubectl get {words[0]}: its answer is no JSON") from None
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Service:
    """The server's Service in the cluster, with its named ports and the labels of its pods."""

    namespace: str
    name: str
    ports: Mapping[str, int]
    selector: Mapping[str, str]

    @property
    def host(self) -> str:
        """Its name in the cluster, for which the server's certificate is made."""
        return f"{self.name}.{self.namespace}.svc"

    def port(self, name: str) -> int:
        """Return the number of the port `name`; raises `ForwardError`."""
        if name not in self.ports:
            there = ", ".join(filter(None, self.ports)) or "no named one"
            raise ForwardError(
                f"Service {self.namespace}/{self.name} has no port called {name} (there is {there}): is it the scaler's? "
                "Choose another with --service, or give --address instead of --forward"
            )
        return self.ports[name]


def service_of(listed: Iterable[Mapping[str, Any]], where: str) -> Service:
    """Return the one Service of `listed`; raises `ForwardError` if there is none, or more than one."""
    found = list(listed)
    if not found:
        raise ForwardError(
            f"no Service of this scaler in {where} (labels {LABELS}): name it with --service NAMESPACE/NAME, or give "
            "--address instead of --forward"
        )
    names = sorted(f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found)
    if len(found) > 1:
        raise ForwardError(f"several Services of this scaler: {', '.join(names)}; choose with --service {names[0]}")
    metadata, spec = found[0]["metadata"], found[0].get("spec", {})
    ports = {port.get("name", ""): int(port["port"]) for port in spec.get("ports", ())}
    return Service(metadata["namespace"], metadata["name"], ports, spec.get("selector") or {})


async def find(kubectl: Kubectl, chosen: str | None) -> Service:
    """Return the server's Service: `chosen`, NAMESPACE/NAME, or the one with the chart's labels in all namespaces."""
    if chosen is None:
        listed = await kubectl.get("services", "--all-namespaces", f"--selector={LABELS}")
        return service_of(listed.get("items", ()), "any namespace")
    namespace, slash, name = chosen.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ForwardError(f"--service {chosen}: must be NAMESPACE/NAME")
    return service_of([await kubectl.get("service", name, f"--namespace={namespace}")], f"namespace {namespace}")


async def pods(kubectl: Kubectl, service: Service) -> list[str]:
    """Return the sorted names of the running pods of `service`."""
    selector = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
    listed = await kubectl.get("pods", f"--namespace={service.namespace}", f"--selector={selector}")
    running = [item for item in listed.get("items", ()) if item.get("status", {}).get("phase") == "Running"]
    if not running:
        raise ForwardError(
            f"no pod runs behind Service {service.namespace}/{service.name}; "
            f"`kubectl describe pods --namespace={service.namespace} --selector={selector}` tells why"
        )
    return sorted(item["metadata"]["name"] for item in running)


@asynccontextmanager
async def forwarded(kubectl: Kubectl, service: Service, targets: Sequence[str], port: int) -> AsyncIterator[list[str]]:
    """Forward `port` of each of `targets` (`service/NAME`, `pod/NAME`), and yield their local addresses, HOST:PORT.

    Every started kubectl has ended after the block, however that ends. Raises `ForwardError`.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        yield [await stack.enter_async_context(_one(kubectl, service, target, port)) for target in targets]


@asynccontextmanager
async def _one(kubectl: Kubectl, service: Service, target: str, port: int) -> AsyncIterator[str]:
    command = kubectl.command("port-forward", f"--namespace={service.namespace}", target, f":{port}")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with _ending(process):
        try:
            async with asyncio.timeout(START_SECONDS):
                address = await _listening(process)
        except TimeoutError:
            await pods(kubectl, service)  # kubectl waits a minute for one that runs, and says nothing
            raise ForwardError(f"kubectl port-forward {target}: not ready within {START_SECONDS:g} s") from None
        if address is None:
            err = await process.stderr.read() if process.stderr else b""
            raise ForwardError(f"kubectl port-forward {target}: {_last_line(err)}")
        reading = [asyncio.ensure_future(_drain(pipe)) for pipe in (process.stdout, process.stderr)]
        try:
            yield address
        finally:
            for task in reading:
                task.cancel()


async def _listening(process: asyncio.subprocess.Process) -> str | None:
    """Return the local address of kubectl; None if it has ended."""
    while process.stdout and (line := await process.stdout.readline()):
        if match := _FORWARDING.search(line.decode(errors="replace")):
            return f"{match[1]}:{match[2]}"
    return None


async def _drain(pipe: asyncio.StreamReader | None) -> None:
    """Read and discard, so that kubectl, which writes a line for each connection, is never blocked."""
    while pipe and await pipe.read(4096):
        pass


@asynccontextmanager
async def _ending(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(END_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


class _ended_by_signals:  # noqa: N801 - reads as the function that it stands for
    """Lets SIGTERM and SIGHUP cancel the task of the block, as Ctrl-C does, so that its subprocesses end too."""

    def __enter__(self) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if task is not None:
                loop.add_signal_handler(number, task.cancel)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)


def run(main: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Run `main`; Ctrl-C exits with code 130 and SIGTERM with 143, without a traceback."""
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except asyncio.CancelledError:
        raise typer.Exit(143) from None


def _hint(err: bytes, words: Sequence[str]) -> str:
    """Return what to do about errors of kubectl that do not say it."""
    if b"localhost:8080" in err:
        return " (kubectl's guess without a kubeconfig: set KUBECONFIG, or kubernetes.kubeconfig)"
    if b"(Forbidden)" in err and "--all-namespaces" in words:
        return "; with --service NAMESPACE/NAME only that one is read"
    return ""


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "it ended without a word"
