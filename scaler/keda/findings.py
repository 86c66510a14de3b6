"""The results of reading manifests: objects, and everything that is wrong with them."""

from dataclasses import dataclass

from scaler.core.errors import ScalerError
from scaler.keda.authentications import Authentication
from scaler.keda.rivals import Rival
from scaler.keda.scalable import ScaledJob, ScaledObject


class ManifestError(ScalerError):
    """A manifest cannot be read; the text begins with `FILE:LINE:` and says what is wrong there."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that KEDA, the API server or the scaler refuses or ignores; `str` is `FILE:LINE: key: problem`.

    A `caution` is accepted by all of them, but probably not meant.
    """

    file: str
    line: int
    key: str
    problem: str
    caution: bool = False

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        line = f"{self.file}:{self.line}: {'caution: ' * self.caution}{key}{self.problem}"
        return line if line.isprintable() else repr(line)[1:-1]  # a finding must stay on one line


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of a file, in its order."""

    objects: tuple[ScaledObject | ScaledJob, ...] = ()
    findings: tuple[Finding, ...] = ()
    refusals: tuple[Finding, ...] = ()
    """Findings because of which an object was read only partly, or not at all; the rest of it is in `objects`."""
    unreadable: tuple[Finding, ...] = ()
    """Documents that are not YAML, or exceed the limits."""
    authentications: tuple[Authentication, ...] = ()
    rivals: tuple[Rival, ...] = ()
