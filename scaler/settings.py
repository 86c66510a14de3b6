"""The configuration: a YAML file; environment variables override it, and flags override both."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import BaseModel, Field, ValidationError, create_model, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as NotJsonError

from scaler.clients.aws.settings import AwsSettings
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.pages.settings import PagesSettings, PrometheusServer
from scaler.clients.redis.server import CONNECTION_NAME, RedisServer
from scaler.core.errors import SettingsError
from scaler.core.section import Section, nearest, section_of, stray_variables, written
from scaler.core.version import page
from scaler.keda.yaml_lines import Broken, documents
from scaler.keda.yaml_nodes import Document
from scaler.sources import SOURCES
from scaler.sources.access import AccessRule
from scaler.sources.sqs.prices import CostSettings


class TlsSettings(Section):
    """The section `tls:`; with it, gRPC is served with TLS only."""

    cert_file: Path = Field(description="Certificate chain of the server, PEM.")
    key_file: Path = Field(description="Its private key, PEM.")
    client_ca_file: Path | None = Field(
        None,
        alias="clientCAFile",
        description="CA of the clients: with it, only clients with a certificate of it are served (mTLS).",
    )


_RATES: dict[str, Any] = {
    rate.kind: (float, Field(rate.per_second, gt=0, description=rate.description))
    for source in SOURCES.values()
    for rate in source.rates
}
RateSettings = create_model(
    "RateSettings",
    __base__=Section,
    __doc__="Most upstream requests per second for one backend of each kind; idle intervals stretch evenly beyond it.",
    **_RATES,
)


class LimitSettings(Section):
    """The section `limits:`."""

    max_scaled_objects: int = Field(50_000, gt=0, description="Distinct triggers that are kept in memory.")
    max_scaled_objects_per_namespace: int | None = Field(
        None, gt=0, description="Of one namespace; by default half of maxScaledObjects, once that half is used."
    )
    max_streams: int = Field(20_000, gt=0, description="Open StreamIsActive and StreamMetricSpec streams together.")
    max_places: int = Field(50_000, gt=0, description="Distinct places that are read.")
    max_metadata_bytes: int = Field(65_536, gt=0, description="Size of one trigger's metadata.")
    max_metadata_total_bytes: int = Field(
        32 * 2**20,
        gt=0,
        description="Size of the metadata of all triggers together; no namespace takes more than is left.",
    )
    max_read_bytes: int = Field(
        64 * 2**20,
        ge=2**20,
        description="Memory for answers of backends that are being read at the same time; no namespace takes more than is left.",
    )
    rpc_deadline_seconds: float = Field(2.0, gt=0.2, le=60, description="Every unary RPC answers or fails within it.")
    requests_per_second: RateSettings = RateSettings()


class DrainSettings(Section):
    """The section `drain:`: how the server ends on SIGTERM."""

    wait_seconds: float = Field(2.0, ge=0, description="How long it still serves after it says NOT_SERVING.")
    grace_seconds: float = Field(5.0, ge=0, description="How long calls that are under way may take after that.")


class LogSettings(Section):
    """The section `log:`."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    format: Literal["json", "console", "auto"] = Field(
        "auto", description="`auto` is console on a terminal, else JSON."
    )


class PageSettings(Section):
    """The section `page:`, the status page and its API."""

    enabled: bool = Field(True, description="Whether it is served.")
    token_file: Path | None = Field(None, description="File with a bearer token that `/` and `/api` then ask for.")


class JournalSettings(Section):
    """The section `journal:`: what happened to each trigger in the last 24 hours."""

    max_bytes: int = Field(
        16 * 2**20,
        ge=2**20,
        description="Memory that it may take for all triggers; where it is short, the old is thinned.",
    )


NAME = "[A-Za-z0-9_.-]{1,80}"
"""What keys and names of the file look like."""
_HELP = f"see {page('configuration.md')}"
_PLAIN = {"tuple_type": "must be a list, such as [a, b]", "dict_type": "must be keys and values"}


class Settings(BaseSettings):
    """The whole configuration. Build it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix="SCALER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    listen: str = Field("0.0.0.0:9090", description="gRPC: HOST:PORT.")
    http: str = Field("0.0.0.0:9091", description="Metrics, health and the status page: HOST:PORT.")
    health_listen: str = Field(
        "0.0.0.0:9092", description="gRPC health without TLS for the kubelet; served when gRPC has TLS."
    )
    http_allowed_hosts: tuple[str, ...] = Field(
        ("localhost", "*.svc", "*.svc.cluster.local"),
        description="Names in the Host header, with `*`, that the HTTP port answers to besides IP addresses; any other gets 421. The chart adds the names of its Service.",
    )
    tls: TlsSettings | None = None
    redis: dict[str, RedisServer] = Field(default_factory=dict, description="Redis connections by name.")
    prometheus: dict[str, PrometheusServer] = Field(default_factory=dict, description="Prometheus servers by name.")
    pages: tuple[PagesSettings, ...] = Field(
        (), description="How pages of metrics over HTTPS are read: whose certificates count, and with which token."
    )
    aws: AwsSettings = AwsSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    access: tuple[AccessRule, ...] = Field((), description="Who may read what; none: everything is allowed.")
    limits: LimitSettings = LimitSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()
    page: PageSettings = PageSettings()
    journal: JournalSettings = JournalSettings()
    cost: CostSettings = CostSettings()
    lease_seconds: float = Field(
        100.0,
        ge=1,
        description="How long a place is kept fresh after it was asked for: three times KEDA's default pollingInterval, and a little.",
    )
    connection_age_seconds: float = Field(
        600.0,
        ge=10,
        description="How old a gRPC connection grows before KEDA is asked to make a new one, and so sees new replicas.",
    )

    @field_validator("redis")
    @classmethod
    def _check_names(cls, named: dict[str, RedisServer]) -> dict[str, RedisServer]:
        for number, name in enumerate(named, 1):
            if not re.fullmatch(CONNECTION_NAME, name):  # not quoted, because it may be a URL with a password
                raise ValueError(
                    f"the name of connection {number} must begin with a letter or digit and hold at most 63 letters, "
                    "digits and `.` `_` `-`, or no trigger can ask for it"
                )
        return named

    @field_validator("listen", "http", "health_listen")
    @classmethod
    def _check_address(cls, address: str) -> str:
        if (
            not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}", address)
            or int(address.rpartition(":")[2]) > 65_535
        ):
            raise ValueError("must be HOST:PORT, such as 0.0.0.0:9090")
        return address


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable `SCALER_…` that is taken for no setting, with the one that may be meant.

    It is no error, unlike a misspelt key of the file or of a section: others write into the environment, too.
    """
    return stray_variables(environ, Settings, "SCALER_")


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the configuration from the file `config`, the environment and `flags`; the later ones win.

    Raises `SettingsError` that names the file or variable, the key and what is wrong; never shows a value, which may
    be a secret.
    """
    values = _by_name(_read(config), Settings) if config is not None else {}
    where = f"{config}: " if config is not None else ""
    above = {key: value for key, value in (flags or {}).items() if value is not None}

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return InitSettingsSource(settings_cls, above), env_settings, init_settings

    try:
        return Layered(**values)
    except ValidationError as error:
        findings = "; ".join(map(_finding_text, error.errors(include_url=False)))
        raise SettingsError(
            f"{where}{findings} (configuration file, or SCALER_… in the environment; {_HELP})"
        ) from None
    except NotJsonError as error:
        field = str(error).split('"')[1]
        raise SettingsError(f"SCALER_{field.upper()}, or a variable that begins so: not JSON ({_HELP})") from None


def _finding_text(finding: ErrorDetails) -> str:
    """Return what is wrong, with the key as in the file, and for a misspelt key the most similar known one."""
    model: type[BaseModel] | None = Settings
    names: list[str] = []
    free = False  # whether the next part is a name chosen by the user, or an index
    for part in finding["loc"]:
        field = model.model_fields.get(str(part)) if model is not None and not free else None
        names.append(str(part) if field is None else written(str(part), field))
        free = field is not None and get_origin(field.annotation) in {dict, tuple}
        if field is not None:
            model = section_of(field.annotation)
    text = _PLAIN.get(finding["type"]) or finding["msg"].removeprefix("Value error, ")
    if finding["type"] == "extra_forbidden" and model is not None:
        known = [written(name, field) for name, field in model.model_fields.items()]
        near = nearest(names[-1], known)
        text = f"unknown key; did you mean {near}?" if near else f"unknown key; known: {', '.join(known)}"
    return f"{'.'.join(map(_shown, names))}: {text}"


def _shown(name: str) -> str:
    """Return `name` for a message, unless it may be a URL with its password in place of a name."""
    return name if re.fullmatch(NAME, name) else "(a name that is not shown)"


def _by_name(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return `values` with the file's camelCase keys as field names, so that they merge with the environment's."""
    names = {written(name, field): name for name, field in model.model_fields.items()}
    return {
        names.get(key, key): _values_by_name(value, model.model_fields[names[key]].annotation)
        if key in names
        else value
        for key, value in values.items()
    }


def _values_by_name(value: Any, annotation: Any) -> Any:
    section = section_of(annotation)
    if section is None:
        return value
    if isinstance(value, list):
        return [_values_by_name(item, section) for item in value]
    if not isinstance(value, dict):
        return value
    if get_origin(annotation) is dict:
        return {name: _values_by_name(item, section) for name, item in value.items()}
    return _by_name(value, section)


def _read(config: Path) -> dict[str, Any]:
    try:
        text = config.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{config}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{config}: not YAML (wrong encoding)") from None
    found = list(itertools.islice(documents(text), 2))
    for each in found:
        if isinstance(each, Broken):
            raise SettingsError(f"{config}:{each.line}: {each.problem}")
    if len(found) > 1:
        raise SettingsError(f"{config}: more than one document; the file must hold one")
    parsed = found[0].data if found and isinstance(found[0], Document) else None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise SettingsError(f"{config}: the file must hold keys and values, such as `listen: 0.0.0.0:9090`")
    return parsed
