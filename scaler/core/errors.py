"""Everything that can go wrong, as one tree; each leaf knows the gRPC status code that tells it to KEDA."""

from typing import ClassVar, Self, TypeVar

AnyError = TypeVar("AnyError", bound=BaseException)


class ScalerError(Exception):
    """Base of all errors that a user may see; its text says what, where and what to do, and holds no secret."""

    code: ClassVar[str] = "INTERNAL"  # the name of a grpc.StatusCode

    def untraced(self) -> Self:
        """Return an equal error without history, and let this one forget its own.

        One that is kept and raised at every poll of an outage would grow all the time. The copy is made without
        `__init__`, which may take other arguments in each class.
        """
        twin = type(self).__new__(type(self), *let_go(self).args)
        twin.__dict__.update(self.__dict__)
        return twin


class MetadataError(ScalerError):
    """The trigger metadata is wrong: names the key, the value and what is allowed."""

    code = "INVALID_ARGUMENT"


class UnknownMetricError(ScalerError):
    """KEDA asked for a metric that the trigger does not have."""

    code = "NOT_FOUND"


class NotAllowedError(ScalerError):
    """The configuration does not let this namespace read this place."""

    code = "PERMISSION_DENIED"


class LimitError(ScalerError):
    """A limit of the configuration is reached; the text names it."""

    code = "RESOURCE_EXHAUSTED"


class SettingsError(ScalerError):
    """The configuration file, an environment variable or a flag is wrong."""

    code = "FAILED_PRECONDITION"


class Fault(ScalerError):  # noqa: N818 - the house's word: why there is no reading
    """Why a place could not be read. Never turned into a value, and never into inactive."""

    code = "UNAVAILABLE"


class Unavailable(Fault):
    """The backend did not answer in time, broke off, or answered what cannot be understood."""


class Throttled(Unavailable):
    """The backend asks to be asked less often; the store slows down for all of its places."""


class Refused(Fault):
    """The backend answered that the credentials are refused or that the thing does not exist."""

    code = "FAILED_PRECONDITION"


class Unsettled(Unavailable):
    """What was read proves little yet: the backend has just come back, and nothing was told before."""


class Defect(Fault):
    """An error in the scaler itself, which its log tells; what was told before is held, as through any other fault."""

    code = "INTERNAL"


def let_go(error: AnyError) -> AnyError:
    """Return `error` without the frames that it and its history came through.

    An exception keeps those frames, and so all that they held. Where a frame keeps the exception too, as in asyncio and
    aiohttp, that is a cycle: each read that failed left 30 kB for the garbage collector.
    """
    history: list[BaseException | None] = [error]
    seen: set[int] = set()
    while history:
        each = history.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            history += [each.__cause__, each.__context__]
    return error
