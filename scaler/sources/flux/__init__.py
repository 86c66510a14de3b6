"""Source `flux`: what waits for a Flux controller, whether it runs or sleeps."""

from scaler.clients.objects import ObjectsReader
from scaler.clients.pages import PagesReader
from scaler.sources.base import Source
from scaler.sources.flux.trigger import FluxTrigger

SOURCE = Source("flux", FluxTrigger, (ObjectsReader, PagesReader))
