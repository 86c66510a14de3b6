"""Variables of the environment that look like settings and are none."""

import socket

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from scaler.cli import app
from scaler.core.errors import SettingsError
from scaler.server.app import serve
from scaler.settings import Settings, load, unknown_variables


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("SCALER_LISTN", "a:1", "did you mean SCALER_LISTEN?"),
        ("SCALER_ACESS", "[]", "did you mean SCALER_ACCESS?"),
        ("scaler_acess", "[]", "did you mean SCALER_ACCESS?"),
        ("SCALER_LIMIT__MAX_STREAMS", "7", "did you mean SCALER_LIMITS__MAX_STREAMS?"),
        ("SCALER_LIMITS_MAX_STREAMS", "7", "did you mean SCALER_LIMITS__MAX_STREAMS?"),
        ("SCALER_MAX_STREAMS", "7", "did you mean SCALER_LIMITS__MAX_STREAMS?"),
        ("SCALER_REDIS_MAIN_URL", "redis://:hunter2@r", "did you mean SCALER_REDIS__NAME__URL?"),
        ("SCALER_TLS_CERT_FILE", "/c", "did you mean SCALER_TLS__CERT_FILE?"),
        ("SCALER_GRPC_PROT", "9090", "known: SCALER_LISTEN, SCALER_HTTP, SCALER_HEALTH_LISTEN, "),
        ("SCALER_PORT", "9090", "known: SCALER_LISTEN, "),  # a Service's is tcp://…
        ("SCALER_GRPC_PORT", "9090", "known: SCALER_LISTEN, "),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_one_that_may_be_meant(
    variable: str, value: str, hint: str
) -> None:
    (told,) = unknown_variables({variable: value})
    assert told.startswith(f"{variable} in the environment is no setting and has no effect; {hint}")
    assert "hunter2" not in told


SERVICES = {
    f"{prefix}_{name}": value
    for prefix in ("SCALER", "SCALER_HTTP", "KEDA_QUEUE_SCALER", "SCALER_REDIS_MASTER")
    for name, value in {
        "SERVICE_HOST": "10.0.0.7",
        "SERVICE_PORT": "9090",
        "SERVICE_PORT_GRPC": "9090",
        "SERVICE_PORT_HTTP_METRICS": "9091",
        "PORT": "tcp://10.0.0.7:9090",
        "PORT_9090_TCP": "tcp://10.0.0.7:9090",
        "PORT_9090_TCP_PROTO": "tcp",
        "PORT_9090_TCP_PORT": "9090",
        "PORT_9090_TCP_ADDR": "10.0.0.7",
        "PORT_53_UDP": "udp://10.0.0.7:53",
    }.items()
}
"""What Kubernetes sets in the pods of a namespace for its Services (kubelet's envvars.FromServices)."""


def test_what_kubernetes_sets_for_services_is_no_setting_and_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES.items():
        monkeypatch.setenv(name, value)
    assert load().model_dump() == Settings().model_dump()
    assert unknown_variables(SERVICES) == []


@pytest.mark.parametrize(
    "variable",
    ["SCALER_CONFIG", "SCALER_LISTEN", "scaler_listen", "SCALER_LIMITS__MAX_STREAMS", "SCALER_REDIS__MAIN__URL", "PATH", "SCALERS", "MY_SCALER_LISTEN"],
)  # fmt: skip
def test_settings_and_what_is_none_of_ours(variable: str) -> None:
    assert unknown_variables({variable: "x"}) == []


async def test_the_server_tells_it_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALER_ACESS", "[]")
    with socket.socket() as taken, capture_logs() as logs:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="cannot listen"):
            await serve(load(None, {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}), load)
    assert [(entry["log_level"], entry["event"].partition(" ")[0]) for entry in logs] == [("warning", "SCALER_ACESS")]


@pytest.mark.parametrize("words", [["explain", "/none.yaml"], ["top", "--address", "127.0.0.1:1", "--once"]])
def test_commands_tell_it_too(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("SCALER_ACESS", "[]")
    done = CliRunner().invoke(app, words)
    assert done.stderr.startswith("scaler: SCALER_ACESS in the environment is no setting and has no effect; did you")
