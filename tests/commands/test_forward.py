"""`--forward`: what kubectl is asked, that it ends with the command in every case, and what is told if it does not work."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scaler.commands.forward import ForwardError, Kubectl, find, forwarded, pods, service_of
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader
from scaler.server.app import Server
from scaler.settings import Settings
from tools import binaries

SCALER = Path(sys.executable).with_name("scaler")
SERVICE = {
    "metadata": {"namespace": "keda", "name": "scaler"},
    "spec": {
        "ports": [{"name": "grpc", "port": 9090}, {"name": "http", "port": 9091}],
        "selector": {"a": "b", "c": "d"},
    },
}
PODS = {
    "items": [
        {"metadata": {"name": name}, "status": {"phase": phase}}
        for name, phase in (("p-2", "Running"), ("p-1", "Running"), ("p-0", "Pending"))
    ]
}
FAKE = """\
#!{python} -IS
import json, os, pathlib, signal, socket, sys, threading
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
words = [word for word in sys.argv[1:] if not word.startswith("--")]
if words[0] == "get":
    answer = here / words[1]
    if not answer.exists():
        sys.exit('Error from server (Forbidden): {{}} is forbidden'.format(words[1]))
    print(answer.read_text())
    sys.exit()
assert words[0] == "port-forward", words
if (here / "broken").exists():
    sys.exit("error: unable to forward port because pod is not running. Current status=Pending")
(here / "pids").open("a").write(f"{{os.getpid()}}\\n")
target = int((here / "target").read_text()) if (here / "target").exists() else 0
listener = socket.create_server(("127.0.0.1", 0))
print(f"Forwarding from 127.0.0.1:{{listener.getsockname()[1]}} -> {{words[-1].lstrip(':')}}", flush=True)
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    b.close()
while True:
    near, _ = listener.accept()
    print("Handling connection for 9091", flush=True)
    far = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    threading.Thread(target=pump, args=(far, near), daemon=True).start()
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a kubectl into PATH that answers from files and forwards to the port in `target`."""
    program = tmp_path / "kubectl"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "services").write_text(json.dumps({"items": [SERVICE]}))
    (tmp_path / "service").write_text(json.dumps(SERVICE))
    (tmp_path / "pods").write_text(json.dumps(PODS))
    yield tmp_path
    assert running(tmp_path) == []


def running(folder: Path) -> list[int]:
    """Return the port-forwards that run."""
    pids = (folder / "pids").read_text().split() if (folder / "pids").exists() else []
    return [
        int(pid) for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


async def test_the_service_is_found_by_its_labels_and_a_port_is_there_while_it_is_needed(kubectl: Path) -> None:
    service = await find(Kubectl(), None)
    assert (service.host, service.port("grpc"), service.port("http")) == ("scaler.keda.svc", 9090, 9091)
    assert await pods(Kubectl(), service) == ["p-1", "p-2"]
    async with forwarded(Kubectl(Path("/k"), "prod"), service, ["pod/p-1", "pod/p-2"], 9091) as addresses:
        assert len(running(kubectl)) == 2
        assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert running(kubectl) == []
    listed, of_pods, first, _ = calls(kubectl)
    assert (
        "--selector=app.kubernetes.io/part-of=keda-queue-scaler,app.kubernetes.io/component=external-scaler" in listed
    )
    assert "--all-namespaces" in listed
    assert {"--namespace=keda", "--selector=a=b,c=d"} <= set(of_pods)
    assert first == ["--kubeconfig=/k", "--context=prod", "port-forward", "--namespace=keda", "pod/p-1", ":9091"]


async def test_one_is_chosen_by_name(kubectl: Path) -> None:
    assert (await find(Kubectl(), "keda/scaler")).name == "scaler"
    assert calls(kubectl)[0][:4] == ["get", "service", "scaler", "--namespace=keda"]
    for wrong in ("scaler", "/scaler", "a/b/c"):
        with pytest.raises(ForwardError, match="must be NAMESPACE/NAME"):
            await find(Kubectl(), wrong)


async def test_what_does_not_work_is_told_as_kubectl_tells_it(kubectl: Path) -> None:
    service = await find(Kubectl(), None)
    (kubectl / "broken").touch()
    with pytest.raises(ForwardError, match="port-forward pod/p: unable to forward port because pod is not running"):
        async with forwarded(Kubectl(), service, ["pod/p"], 9091):
            pass
    (kubectl / "services").unlink()
    with pytest.raises(
        ForwardError, match=r"kubectl get services: Error from server .Forbidden.*; with --service NAME"
    ):
        await find(Kubectl(), None)
    (kubectl / "pods").write_text('{"items": []}')
    with pytest.raises(ForwardError, match="no pod runs behind Service keda/scaler; `kubectl describe pods"):
        await pods(Kubectl(), service)


async def test_a_forward_that_waits_for_a_pod_says_so(kubectl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await find(Kubectl(), None)
    monkeypatch.setattr("scaler.commands.forward.START_SECONDS", 0.0)
    (kubectl / "pods").write_text('{"items": []}')
    with pytest.raises(ForwardError, match="no pod runs behind Service keda/scaler"):
        async with forwarded(Kubectl(), service, ["service/scaler"], 9091):
            pass


async def test_without_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ForwardError, match="--forward needs kubectl, which is not in PATH"):
        await find(Kubectl(), None)


def test_none_or_several_services() -> None:
    other = {**SERVICE, "metadata": {"namespace": "infra", "name": "scaler"}}
    with pytest.raises(
        ForwardError, match=r"several .*: infra/scaler, keda/scaler; choose with --service infra/scaler"
    ):
        service_of([SERVICE, other], "any namespace")
    with pytest.raises(ForwardError, match="no Service of this scaler in any namespace"):
        service_of([], "any namespace")
    with pytest.raises(ForwardError, match=r"has no port called web .there is grpc, http.: is it the scaler's\?"):
        service_of([SERVICE], "any namespace").port("web")


@pytest.mark.parametrize("ending", [RuntimeError, asyncio.CancelledError])
async def test_the_forward_ends_with_errors(kubectl: Path, ending: type[BaseException]) -> None:
    service = await find(Kubectl(), None)
    with pytest.raises(ending):
        async with forwarded(Kubectl(), service, ["service/scaler"], 9091):
            raise ending
    assert running(kubectl) == []


@pytest.fixture
async def server(clock: ManualClock, scripted_source: None, kubectl: Path) -> AsyncIterator[Server]:
    """Serve on ports that the fake kubectl forwards to; `target` is the one of HTTP."""
    made = Server(
        Settings.model_validate({"listen": "127.0.0.1:0", "http": "127.0.0.1:0"}), clock, [ScriptedReader(clock)]
    )
    await made.start()
    made.registry.find("shop", "orders", {"source": "scripted", "spots": "a"})
    (kubectl / "target").write_text(str(made.http_port))
    yield made
    await made.close()


async def ran(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(SCALER), *arguments]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
async def test_top_and_explain_come_through(server: Server, kubectl: Path, tmp_path: Path) -> None:
    done = await ran("top", "--forward")
    assert (done.returncode, done.stderr) == (0, "")
    assert "shop/orders" in done.stdout
    done = await ran(
        "explain", "-n", "shop", "--name", "orders", "--at", "now", "--forward", "--service", "keda/scaler"
    )
    assert "as told by p-1" in done.stdout, done.stderr
    assert "as told by p-2" in done.stdout
    (kubectl / "target").write_text(str(server.port))
    manifest = tmp_path / "so.yaml"
    manifest.write_text(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: orders, namespace: shop}\n"
        "spec: {scaleTargetRef: {name: w}, triggers: [{type: external, metadata: {source: sqs, queueURL: q}}]}\n"
    )
    done = await ran("explain", str(manifest), "--forward")
    assert "service/scaler" in calls(kubectl)[-1]
    assert "INVALID_ARGUMENT" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 143, marks=pytest.mark.slow),
    ],
)
async def test_a_signal_ends_both(kubectl: Path, number: signal.Signals, code: int) -> None:
    def play() -> tuple[int, str]:
        process = subprocess.Popen(
            [str(SCALER), "top", "--forward"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - ignored in a background job
        )
        end = time.monotonic() + 30
        while not running(kubectl) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        return process.returncode, err

    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never answers
        (kubectl / "target").write_text(str(silent.getsockname()[1]))
        ended, err = await asyncio.to_thread(play)
    assert (ended, running(kubectl)) == (code, [])
    assert "Traceback" not in err


def real_kubectl(*arguments: str) -> Any:
    program = binaries.binary(binaries.KUBECTL, "kubectl")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["get", "services", "--all-namespaces", "--selector=a=b", "--output=json", "--request-timeout=30s"],
        ["port-forward", "--namespace=keda", "service/scaler", ":9091"],
    ],
)
def test_the_real_kubectl_takes_these_command_lines(words: list[str]) -> None:
    done = real_kubectl("--server=http://127.0.0.1:1", *words)
    assert "unknown" not in done.stderr
    assert "127.0.0.1:1" in done.stderr, "it got as far as asking the cluster"


async def test_kubectl_without_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(binaries.binary(binaries.KUBECTL, "kubectl").parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ForwardError, match="without a kubeconfig: set KUBECONFIG"):
        await find(Kubectl(), None)


def test_kubectl_finds_the_plugin() -> None:
    environment = {**os.environ, "PATH": f"{SCALER.parent}{os.pathsep}{os.environ['PATH']}"}
    program = binaries.binary(binaries.KUBECTL, "kubectl")
    done = subprocess.run(
        [program, "queue-scaler", "explain", "--help"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: kubectl queue-scaler explain" in done.stdout
