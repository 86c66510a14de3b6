"""Triggers on Argo CD."""

from scaler.sources.argocd.trigger import ArgocdTrigger
from scaler.sources.base import NAMESPACE


def trigger(component: str, **metadata: str) -> ArgocdTrigger:
    return ArgocdTrigger.model_validate({NAMESPACE: "apps", "source": "argocd", "component": component, **metadata})


def controller(**metadata: str) -> ArgocdTrigger:
    return trigger("application-controller", **metadata)
