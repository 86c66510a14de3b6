"""What is found in manifests: objects, and all that is wrong with them."""

from dataclasses import dataclass

from scaler.core.errors import ScalerError
from scaler.keda.authentications import Authentication
from scaler.keda.scalable import ScaledJob, ScaledObject


class ManifestError(ScalerError):
    """A manifest cannot be read; the text begins with `FILE:LINE:` and says what is wrong there."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that KEDA, the API server or the scaler refuses or ignores; `str` is `FILE:LINE: key: problem`.

    A `caution` is accepted by all of them, but does not do what its author thinks.
    """

    file: str
    line: int
    key: str
    problem: str
    caution: bool = False

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        line = f"{self.file}:{self.line}: {'caution: ' * self.caution}{key}{self.problem}"
        return line if line.isprintable() else repr(line)[1:-1]  # one finding, one line


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a file holds, in its order."""

    objects: tuple[ScaledObject | ScaledJob, ...] = ()
    findings: tuple[Finding, ...] = ()
    refusals: tuple[Finding, ...] = ()
    """Findings that keep an object, or a part of it, from being read; what is left of it is in `objects`."""
    unreadable: tuple[Finding, ...] = ()
    """Documents that are not YAML, or beyond its limits."""
    authentications: tuple[Authentication, ...] = ()
