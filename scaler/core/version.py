"""The version of this program, as it was installed, and where its pages are."""

from importlib import metadata

DISTRIBUTION = "keda-queue-scaler"
HOME = "https://github.com/keda-queue-scaler/keda-queue-scaler"


def page(name: str) -> str:
    """Return the URL of a page of `docs/`, for messages: who reads them seldom has the folder."""
    return f"{HOME}/blob/main/docs/{name}"


def version() -> str:
    """Return the version; "unknown" where the package runs without having been installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
