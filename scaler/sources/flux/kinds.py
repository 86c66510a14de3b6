"""The kinds of objects that each Flux controller reconciles, and the kinds that it takes artifacts from."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from scaler.clients.kubernetes.objects import Resource
from scaler.sources.flux import work

Controller = Literal[
    "kustomize-controller",
    "helm-controller",
    "source-controller",
    "image-reflector-controller",
    "image-automation-controller",
]

_SOURCES = "source.toolkit.fluxcd.io"
_IMAGES = "image.toolkit.fluxcd.io"
_SOURCE_VERSIONS = ("v1", "v1beta2")  # OCIRepository is v1 from Flux 2.6 on, the Helm kinds and Bucket from 2.3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: its resource, the function that makes `Work` of it, and the name of its work queue."""

    resource: Resource
    keep: Callable[[Mapping[str, Any]], Hashable | None]
    queue: str


CONTROLLERS: Mapping[Controller, tuple[Kind, ...]] = {
    "kustomize-controller": (
        Kind(
            Resource("kustomize.toolkit.fluxcd.io", ("v1", "v1beta2"), "kustomizations"),
            work.kustomization,
            "kustomization",
        ),
    ),
    "helm-controller": (
        Kind(Resource("helm.toolkit.fluxcd.io", ("v2", "v2beta2"), "helmreleases"), work.helm_release, "helmrelease"),
    ),
    "source-controller": (
        Kind(Resource(_SOURCES, ("v1",), "gitrepositories"), work.source, "gitrepository"),
        Kind(Resource(_SOURCES, _SOURCE_VERSIONS, "ocirepositories"), work.source, "ocirepository"),
        Kind(Resource(_SOURCES, _SOURCE_VERSIONS, "helmrepositories"), work.helm_repository, "helmrepository"),
        Kind(Resource(_SOURCES, _SOURCE_VERSIONS, "helmcharts"), work.helm_chart, "helmchart"),
        Kind(Resource(_SOURCES, _SOURCE_VERSIONS, "buckets"), work.source, "bucket"),
    ),
    "image-reflector-controller": (
        Kind(Resource(_IMAGES, ("v1", "v1beta2"), "imagerepositories"), work.image_repository, "imagerepository"),
        Kind(Resource(_IMAGES, ("v1", "v1beta2"), "imagepolicies"), work.image_policy, "imagepolicy"),
    ),
    "image-automation-controller": (
        Kind(
            Resource(_IMAGES, ("v1", "v1beta2"), "imageupdateautomations"),
            work.image_update_automation,
            "imageupdateautomation",
        ),
    ),
}
"""The kinds of each controller. Its CRDs are installed with it, so a kind that the API does not have is a fault."""

ARTIFACTS: Mapping[str, tuple[Resource, Callable[[Mapping[str, Any]], Hashable | None]]] = {
    "GitRepository": (Resource(_SOURCES, ("v1",), "gitrepositories"), partial(work.artifact, "GitRepository")),
    "OCIRepository": (Resource(_SOURCES, _SOURCE_VERSIONS, "ocirepositories"), partial(work.artifact, "OCIRepository")),
    "HelmRepository": (
        Resource(_SOURCES, _SOURCE_VERSIONS, "helmrepositories"),
        partial(work.artifact, "HelmRepository"),
    ),
    "HelmChart": (Resource(_SOURCES, _SOURCE_VERSIONS, "helmcharts"), partial(work.artifact, "HelmChart")),
    "Bucket": (Resource(_SOURCES, _SOURCE_VERSIONS, "buckets"), partial(work.artifact, "Bucket")),
    "ExternalArtifact": (Resource(_SOURCES, ("v1",), "externalartifacts"), partial(work.artifact, "ExternalArtifact")),
}
"""Sources, by the kind in a reference. Only kinds with a reference are read, so the others need not exist."""
