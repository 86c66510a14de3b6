"""Triggers on Flux."""

from scaler.sources.base import NAMESPACE
from scaler.sources.flux.trigger import FluxTrigger


def trigger(**metadata: str) -> FluxTrigger:
    controller = metadata.pop("controller", "kustomize-controller")
    return FluxTrigger.model_validate({NAMESPACE: "apps", "source": "flux", "controller": controller, **metadata})
