"""The registry of sources, with one line for each."""

from scaler.sources import argocd, flux, sidekiq, sqs, workqueue
from scaler.sources.base import Source

_ALL: tuple[Source, ...] = (
    sqs.SOURCE,
    sidekiq.SOURCE,
    workqueue.SOURCE,
    argocd.SOURCE,
    flux.SOURCE,
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
