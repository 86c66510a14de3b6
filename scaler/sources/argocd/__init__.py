"""Source `argocd`: what the components of Argo CD have to do."""

from scaler.clients.objects import ObjectsReader
from scaler.clients.pages import PagesReader
from scaler.clients.prometheus import PrometheusReader
from scaler.sources.argocd.trigger import ArgocdTrigger
from scaler.sources.base import Source

SOURCE = Source("argocd", ArgocdTrigger, (ObjectsReader, PagesReader, PrometheusReader))
