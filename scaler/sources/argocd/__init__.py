"""Source `argocd`: the pending work of the components of Argo CD."""

from scaler.clients.kubernetes.reader import ObjectsReader
from scaler.clients.pages.prometheus import PrometheusReader
from scaler.clients.pages.reader import PagesReader
from scaler.sources.argocd.trigger import ArgocdTrigger
from scaler.sources.base import Rate, Source

SOURCE = Source(
    "argocd",
    ArgocdTrigger,
    (ObjectsReader, PagesReader, PrometheusReader),
    (Rate("kubernetes", 50, "Of one API server."),),
)
