"""Places for pages of metrics: of all addresses of a URL, or of all pods that match a selector."""

from dataclasses import dataclass, field
from typing import ClassVar

from yarl import URL

from scaler.clients.http.fetch import shown
from scaler.clients.pages.exposition import Family
from scaler.core.domain import Place


@dataclass(frozen=True, slots=True)
class Wanted:
    """The series to take from each page: `families`; the names in `proof` identify the right page.

    A page with none of `proof` is a fault with `hint`, unless its own leader election series says that its pod is on
    standby. If all pages are on standby, that is a fault too, unless the leader election series is in `proof`.
    """

    families: frozenset[Family]
    proof: frozenset[str]
    hint: str = "is it the right port and path?"


@dataclass(frozen=True, slots=True)
class UrlPages(Place):
    """The pages at a URL, one for each address of its host name."""

    kind: ClassVar[str] = "pages"

    url: str = field(repr=False)
    wanted: Wanted

    @property
    def backend(self) -> str:
        """Return the host and port."""
        return f"pages/{URL(self.url).host_port_subcomponent}"

    @property
    def whose(self) -> str:
        """Return whose pages they are all of."""
        return f"every address of {URL(self.url).host}"

    def __str__(self) -> str:
        return f"metrics of {shown(URL(self.url))}"


@dataclass(frozen=True, slots=True)
class PodPages(Place):
    """The pages of all pods of a namespace that match a label selector."""

    kind: ClassVar[str] = "pages"

    namespace: str
    selector: str
    port: int
    path: str
    wanted: Wanted
    scheme: str = "http"

    @property
    def backend(self) -> str:
        """Return the namespace and the selector."""
        return f"pages/{self.namespace}/{self.selector}"

    @property
    def whose(self) -> str:
        """Return whose pages they are all of."""
        return f"every running pod with {self.selector} in namespace {self.namespace}"

    def __str__(self) -> str:
        return f"metrics of pods {self.selector} in namespace {self.namespace}"
