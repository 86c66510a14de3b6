"""The metadata keys that say where pages of metrics are, for every source that reads pages."""

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from scaler.clients.http.fetch import checked_url
from scaler.clients.pages.prometheus_query import PrometheusPages, label_matchers
from scaler.clients.pages.reader import PodPages, UrlPages, Wanted
from scaler.clients.pages.settings import API_PATH
from scaler.core.domain import Place
from scaler.sources.base import (
    Claim,
    CommaList,
    Count,
    LabelSelector,
    NamespaceName,
    Trigger,
    Url,
    matching,
    url_claim,
    url_field,
)

WAYS = {
    "metricsURL": "metrics_url",
    "podSelector": "pod_selector",
    "prometheus": "prometheus",
    "prometheusURL": "prometheus_url",
}
"""The keys of which each names a way to reach pages, and their fields."""
_BELONGS_TO = {
    "podNamespace": ("pod_namespace", ("podSelector",)),
    "scheme": ("scheme", ("podSelector",)),
    "port": ("port", ("podSelector",)),
    "path": ("path", ("podSelector",)),
    "selector": ("selector", ("prometheus", "prometheusURL")),
}


@lru_cache(maxsize=64)
def _shared(wanted: Wanted) -> Wanted:
    """Return the same object for equal ones: each takes 800 bytes, and most triggers of a source want the same."""
    return wanted


class PageKeys(Trigger):
    """A trigger on pages of metrics, reached in at most one of the four ways of `WAYS`."""

    metrics_url: CommaList | None = url_field(
        "metricsURL",
        "URL of the metrics page, or several with commas; a host name with several addresses (a headless Service) means every one of them.",
        None,
    )
    pod_selector: LabelSelector | None = Field(
        None, description="Label selector of the pods whose pages are read; they are found through the Kubernetes API."
    )
    pod_namespace: NamespaceName | None = Field(
        None, description="Namespace of these pods; without it that of the ScaledObject."
    )
    scheme: Literal["http", "https"] = Field(
        "http", description="`https`: the configuration's `pages` says whose certificates count and with which token."
    )
    port: Count = Field(8080, ge=1, le=65_535, description="Port of the pages of these pods.")
    path: Annotated[str, matching(r'/[!"$->@-~]*', "a path such as /metrics")] = Field(
        "/metrics", description="Path of the pages of these pods."
    )
    prometheus: str | None = Field(
        None, description="A Prometheus named in the configuration, which has read the pages already."
    )
    prometheus_url: Url | None = url_field("prometheusURL", "Base URL of a Prometheus, instead of a name.", None)
    selector: Annotated[str, AfterValidator(label_matchers)] = Field(
        "", description='Label matchers for the series in Prometheus: `namespace="argocd",job="argocd-metrics"`.'
    )

    @field_validator("metrics_url")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if urls is None else tuple(map(checked_url, urls))

    @field_validator("prometheus_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and API_PATH.search(url):
            raise ValueError("the base URL of a Prometheus, without the /api/v1/query that is added to it")
        return url

    @model_validator(mode="after")
    def _check_ways(self) -> "PageKeys":
        if len(self.ways) > 1:
            raise ValueError(f"{', '.join(self.ways)}: give only one of them")
        for key, (field, owners) in _BELONGS_TO.items():
            if field in self.model_fields_set and not set(owners) & set(self.ways):
                raise ValueError(f"{key}: has a meaning only together with {' or '.join(owners)}")
        return self

    @property
    def ways(self) -> list[str]:
        """The keys of `WAYS` that are set."""
        return [key for key, field in WAYS.items() if getattr(self, field) is not None]

    def page_places(self, wanted: Wanted) -> tuple[Place, ...]:
        """Return the places of pages with `wanted`, each read as a tuple of `Page`; empty if no way is set."""
        wanted = _shared(wanted)
        if self.metrics_url is not None:
            return tuple(UrlPages(url, wanted) for url in self.metrics_url)
        if self.pod_selector is not None:
            namespace = self.pod_namespace or self.namespace
            return (PodPages(namespace, self.pod_selector, self.port, self.path, wanted, self.scheme),)
        if self.prometheus is not None or self.prometheus_url is not None:
            return (PrometheusPages(self.prometheus or "", self.prometheus_url or "", self.selector, wanted.families),)
        return ()

    def page_claims(self) -> tuple[Claim, ...]:
        """Return what the access rules must allow for `page_places`; a URL without credentials and query."""
        if self.pod_selector is not None:
            return (Claim("kubernetes", self.pod_namespace or self.namespace),)
        if self.prometheus is not None:
            return (Claim("prometheus", self.prometheus),)
        urls = self.metrics_url or filter(None, [self.prometheus_url])
        return tuple(map(url_claim, urls))
