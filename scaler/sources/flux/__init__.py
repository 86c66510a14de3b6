"""Source `flux`: the pending objects of a Flux controller, whether it runs or is scaled to zero."""

from scaler.clients.kubernetes.reader import ObjectsReader
from scaler.clients.pages.reader import PagesReader
from scaler.sources.base import Source
from scaler.sources.flux.trigger import FluxTrigger

SOURCE = Source("flux", FluxTrigger, (ObjectsReader, PagesReader))
