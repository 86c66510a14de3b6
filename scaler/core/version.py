"""The version of this program, as it was installed."""

from importlib import metadata

DISTRIBUTION = "keda-queue-scaler"


def version() -> str:
    """Return the version; "unknown" where the package runs without having been installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
