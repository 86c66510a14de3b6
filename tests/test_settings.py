"""The configuration: file, environment and flags, their order, and what is said about mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from scaler.core.errors import SettingsError
from scaler.settings import RateSettings, Settings, load

EXAMPLE = """
listen: 127.0.0.1:7000
http: "[::1]:7001"
tls: {certFile: /tls/tls.crt, keyFile: /tls/tls.key, clientCAFile: /tls/ca.crt}
redis: {main: {url: "rediss://redis.example", passwordFile: /secrets/redis}}
prometheus: {main: {url: "https://prometheus.example", tokenFile: /secrets/token}}
aws:
  roles: [{arn: "arn:aws:iam::*:role/keda-*", namespaces: ["shop-*"], externalId: e1}]
  allowedEndpoints: ["http://127.0.0.1:*"]
access:
  - namespaces: ["shop-*"]
    sqs: ["arn:aws:sqs:ap-northeast-1:123456789012:shop-*"]
    redis: [main]
    urls: ["http://argocd-metrics.argocd.svc*"]
limits: {maxScaledObjects: 500, maxStreams: 200, rpcDeadlineSeconds: 1.5, requestsPerSecond: {sqs: 20}}
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the environment of whoever runs the tests out of them."""
    for name in ("SCALER_CONFIG", "SCALER_LISTEN"):
        monkeypatch.delenv(name, raising=False)


MERGES = f"a0: &a0 {{{', '.join(f'k{number}: v' for number in range(1_000))}}}\n" + "".join(
    f"a{level}: &a{level} {{<<: *a{level - 1}, m{level}: v}}\n" for level in range(1, 400)
)
"""Few lines that stand for hundreds of thousands of keys."""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        (path := tmp_path / "config.yaml").write_text(content)
        return path

    return write


def refusal(config: Path | None = None, flags: dict[str, Any] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config, flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_has_a_default() -> None:
    settings = load()
    assert settings.model_dump() == Settings().model_dump()
    assert (settings.listen, settings.http, settings.health_listen) == ("0.0.0.0:9090", "0.0.0.0:9091", "0.0.0.0:9092")
    assert (settings.limits.max_scaled_objects, settings.limits.max_streams) == (50_000, 20_000)
    assert settings.limits.rpc_deadline_seconds == 2
    assert (settings.tls, settings.access) == (None, ())


def test_a_file_is_read(written: Callable[[str], Path]) -> None:
    settings = load(written(EXAMPLE))
    assert (settings.listen, settings.http) == ("127.0.0.1:7000", "[::1]:7001")
    assert settings.tls is not None
    assert settings.tls.client_ca_file == Path("/tls/ca.crt")
    assert settings.redis["main"].url == SecretStr("rediss://redis.example")
    assert settings.aws.roles[0].external_id == "e1"
    assert settings.access[0].namespaces == ("shop-*",)
    assert (settings.limits.max_scaled_objects, settings.limits.rpc_deadline_seconds) == (500, 1.5)
    assert (settings.limits.requests_per_second.sqs, settings.limits.requests_per_second.redis) == (
        20,
        RateSettings().redis,
    )


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}"])
def test_an_empty_file_changes_nothing(written: Callable[[str], Path], content: str) -> None:
    assert load(written(content)).model_dump() == Settings().model_dump()


def test_flags_beat_the_environment_and_that_beats_the_file(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("listen: a:1\nhttp: a:2\nhealthListen: a:3\nlog: {level: error, format: json}")
    monkeypatch.setenv("SCALER_LISTEN", "b:1")
    monkeypatch.setenv("SCALER_HTTP", "b:2")
    monkeypatch.setenv("SCALER_LOG__LEVEL", "debug")
    settings = load(path, {"listen": "c:1", "http": None, "log": None})
    assert (settings.listen, settings.http, settings.health_listen) == ("c:1", "b:2", "a:3")
    assert (settings.log.level, settings.log.format) == ("debug", "json")
    settings = load(path, {"log": {"level": "info"}})
    assert (settings.log.level, settings.log.format) == ("info", "json"), "a flag replaces what it names alone"


def test_every_field_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SCALER_TLS__CERT_FILE": "/c",
        "SCALER_TLS__KEY_FILE": "/k",
        "SCALER_TLS__CLIENT_CA_FILE": "/ca",
        "SCALER_LIMITS__MAX_STREAMS": "7",
        "SCALER_LIMITS__REQUESTS_PER_SECOND__SQS": "9",
        "SCALER_REDIS": '{"main": {"url": "redis://r"}}',
        "SCALER_ACCESS": '[{"namespaces": ["shop"]}]',
        "SCALER_LEASE_SECONDS": "50",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert settings.tls is not None
    assert settings.tls.client_ca_file == Path("/ca")
    assert (settings.limits.max_streams, settings.limits.requests_per_second.sqs) == (7, 9)
    assert settings.redis["main"].url.get_secret_value() == "redis://r"
    assert settings.access[0].namespaces == ("shop",)
    assert settings.lease_seconds == 50


def test_a_section_of_the_file_is_completed_by_the_environment(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALER_LIMITS__MAX_STREAMS", "7")
    settings = load(written("limits: {maxScaledObjects: 5}"))
    assert (settings.limits.max_scaled_objects, settings.limits.max_streams) == (5, 7)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(
            "redis: {'redis://u:hunter2@db': {url: 'redis://db'}}",
            "redis: the name of connection 1 must begin with a letter or digit",
            id="a URL for a name",
        ),
        pytest.param("lisen: a:1", "lisen: unknown key; did you mean listen?", id="misspelt"),
        pytest.param("zzz: 1", "zzz: unknown key; known: listen, http, healthListen", id="like nothing"),
        pytest.param(
            "limits: {maxStream: 1}", "limits.maxStream: unknown key; did you mean maxStreams?", id="in a section"
        ),
        pytest.param(
            "access: [{namespaces: [a]}, {namespaces: [a], sq: [b]}]",
            "access.1.sq: unknown key; did you mean sqs?",
            id="in a list",
        ),
        pytest.param(
            "redis: {my_main: {ulr: x}}", "redis.my_main.ulr: unknown key; did you mean url?", id="in a mapping"
        ),
        pytest.param(
            "redis: {url: {ulr: x}}", "redis.url.ulr: unknown key; did you mean url?", id="under a name like a key"
        ),
        pytest.param(
            "limits: {maxStreams: many}",
            "limits.maxStreams: Input should be a valid integer",
            id="as the file writes it",
        ),
        pytest.param(
            "access: [{namespaces: shop}]", "access.0.namespaces: must be a list, such as [a, b]", id="no list"
        ),
        pytest.param("redis: [main]", "redis: must be keys and values", id="no mapping"),
        pytest.param("limits: {maxStreams: 0}", "limits.maxStreams: Input should be greater than 0", id="out of range"),
        pytest.param(
            "limits: {requestsPerSecond: {sqs: .inf}}",
            "limits.requestsPerSecond.sqs: Input should be a finite number",
            id="infinite",
        ),
        pytest.param(
            "connectionAgeSeconds: .nan", "connectionAgeSeconds: Input should be a finite number", id="no number"
        ),
        pytest.param("listen: 9090", "listen: ", id="a number for an address"),
        pytest.param("http: a:70000", "http: must be HOST:PORT, such as 0.0.0.0:9090", id="no such port"),
        pytest.param("tls: {certFile: a}", "tls.keyFile: Field required", id="half a section"),
        pytest.param(
            "log: {level: loud}",
            "log.level: Input should be 'debug', 'info', 'warning' or 'error'",
            id="no such choice",
        ),
        pytest.param("- a\n- b", "the file must hold keys and values", id="a list"),
        pytest.param("1: a", "1: unknown key", id="a number as a key"),
        pytest.param("a: [", ":2: not YAML", id="not YAML"),
        pytest.param("a: b\nc: d: e", ":2: not YAML: mapping values are not allowed", id="not YAML, on line 2"),
        pytest.param("a: !!python/object:os.system x", "not YAML: could not determine a constructor", id="no objects"),
        pytest.param("listen: a\nlisten: b", ":2: ", id="twice"),
        pytest.param("listen: 127.0.0.1:1\n---\nhttp: 127.0.0.1:2", "more than one document", id="two documents"),
        pytest.param(MERGES, "merges take over more than 250,000 values", id="merges without end"),
        pytest.param("[" * 50_000, "nested deeper than 100 levels", id="brackets without end"),
    ],
)
def test_a_mistake_names_file_key_and_what_is_allowed(written: Callable[[str], Path], content: str, said: str) -> None:
    told = refusal(path := written(content))
    assert told.startswith(str(path))
    assert said in told


@pytest.mark.parametrize(
    "content",
    [
        "redis: {'redis://:canary@h': {url: x}}",
        "redis: {'redis://:canary@h': 7}",
        "prometheus: {'http://u:canary@h': {uri: x}}",
        "'redis://:canary@h': 1",
        "log: {'https://u:canary@h': 1}",
        "redis: {'redis://:canary@h': {url: x}, 'redis://:canary@h': {url: y}}",
    ],
)
def test_a_url_in_place_of_a_name_is_not_told(written: Callable[[str], Path], content: str) -> None:
    told = refusal(written(content))
    assert "(a name that is not shown)" in told or "a key is there twice" in told
    assert "canary" not in told


def test_all_mistakes_are_told_at_once(written: Callable[[str], Path]) -> None:
    told = refusal(written("lisen: a\nlimits: {maxStreams: x, maxPlaces: -1}"))
    assert all(key in told for key in ("lisen", "limits.maxStreams", "limits.maxPlaces"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: Is a directory"
    (tmp_path / "latin.yaml").write_bytes(b"listen: \xff\xfe")
    assert "not YAML (wrong encoding)" in refusal(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SCALER_REDIS", '{"main": {', "SCALER_REDIS, or a variable that begins so: not JSON"),
        ("SCALER_LIMITS__REQUESTS_PER_SECOND", "{x", "SCALER_LIMITS, or a variable that begins so: not JSON"),
        ("SCALER_LIMITS__MAX_STREAMS", "many", "limits.maxStreams: Input should be a valid integer"),
        ("SCALER_LIMITS__MAX_STREAM", "1", "limits.max_stream: unknown key; did you mean maxStreams?"),
    ],
)
def test_a_mistake_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert said in refusal()


CANARY = "hunter2"


@pytest.mark.parametrize(
    "content",
    [
        f"redis: {{main: {{url: 'redis://:{CANARY}@r', passwrd: {CANARY}}}}}",
        f"redis: {{main: '{CANARY}'}}",
        f"redis: {CANARY}",
        f"prometheus: {{main: {{url: ['{CANARY}']}}}}",
        f"limits: {{maxStreams: {CANARY}}}",
        f"listen: {CANARY}",
        f"log: {{level: {CANARY}}}",
        f"tls: {CANARY}",
        f"access: {CANARY}",
    ],
)
def test_no_message_shows_a_value(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    assert CANARY not in refusal(written(content))
    ((name, value),) = yaml.safe_load(content).items()
    monkeypatch.setenv(f"SCALER_{name.upper()}", str(value))
    assert CANARY not in refusal()


def test_no_secret_in_what_the_settings_look_like(written: Callable[[str], Path]) -> None:
    urls = f"redis: {{main: {{url: 'redis://u:{CANARY}@r'}}}}\nprometheus: {{main: {{url: 'https://u:{CANARY}@p'}}}}"
    settings = load(written(urls))
    assert CANARY in settings.redis["main"].url.get_secret_value()
    for look in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert CANARY not in look


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().listen = "a:1"
    with pytest.raises(ValueError, match="frozen"):
        load().limits.max_streams = 1


def test_every_key_is_described() -> None:
    """The reference page is made of these."""

    def walk(model: Any, path: str) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():
            kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
            inner = [kind for kind in kinds if hasattr(kind, "model_fields")]
            for kind in inner:
                missing += walk(kind, f"{path}{name}.")
            if not inner and not field.description:
                missing.append(f"{path}{name}")
        return missing

    assert walk(Settings, "") == []
