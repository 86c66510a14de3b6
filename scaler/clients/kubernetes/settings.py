"""The section `kubernetes:` of the configuration: which API server, with which identity and limits."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from yarl import URL

from scaler.core.section import Section


class KubernetesSettings(Section):
    """The section `kubernetes:`; empty means the pod's service account, else `KUBECONFIG` or `~/.kube/config`."""

    kubeconfig: Path | None = Field(None, description="A kubeconfig file.")
    context: str | None = Field(None, description="A context of the kubeconfig, instead of its current one.")
    url: str | None = Field(
        None, description="A plain API address, such as that of `kubectl proxy`: `http://127.0.0.1:8001`."
    )
    max_objects: int = Field(
        200_000,
        gt=0,
        description="Most objects kept for all places together, about 0.7 KB each (one of which more is kept counts as several); no namespace takes more than is left, and a place beyond it is a fault, before memory grows.",
    )
    max_watches: int = Field(
        500,
        gt=0,
        description="Most places watched at once; each holds one connection. No namespace takes more than are left.",
    )
    watch_silence_seconds: float = Field(
        75,
        gt=0,
        le=120,
        description="A watch that has sent nothing for so long, neither an event nor a bookmark (one comes every minute), is opened again from where it was. After 120 s in all without either its objects are listed anew, and are a fault until then.",
    )

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is not None:
            url = URL(value)
            if url.scheme not in {"http", "https"} or not url.host or url.user or url.password or url.query_string:
                raise ValueError("http://HOST:PORT or https://HOST:PORT without a user name, a password or a query")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.url and (self.kubeconfig or self.context):
            raise ValueError("url cannot be combined with kubeconfig or context: choose one way to the API")
        return self
