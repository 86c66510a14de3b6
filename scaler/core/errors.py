"""All errors, as one tree of classes; each has the gRPC status code that KEDA gets for it."""

from typing import ClassVar, Self, TypeVar

AnyError = TypeVar("AnyError", bound=BaseException)


class ScalerError(Exception):
    """Base of all errors that users may see; the text says what is wrong, where and what to do, and has no secret."""

    code: ClassVar[str] = "INTERNAL"  # the name of a grpc.StatusCode

    def untraced(self) -> Self:
        """Return an equal error without traceback and causes, and remove those of this one.

        Otherwise an error that is kept and raised at every poll of an outage would grow with each. The copy is made
        without `__init__`, whose parameters differ between the classes.
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


class Fault(ScalerError):  # noqa: N818 - the project's word for it
    """Why a place could not be read. Must never be turned into a value, nor into inactive."""

    code = "UNAVAILABLE"


class Unavailable(Fault):
    """The backend did not answer in time, closed the connection, or sent an answer that cannot be understood."""


class Throttled(Unavailable):
    """The backend throttles; the store lowers the read rate for all of its places."""


class Refused(Fault):
    """The backend refuses the credentials, or says that what is asked for does not exist."""

    code = "FAILED_PRECONDITION"


class Unsettled(Unavailable):
    """The backend has just come back, so its readings prove little, and there is no earlier answer to repeat."""


class Defect(Fault):
    """An error in the scaler itself, which is in its log; as with any other fault the last answer is held."""

    code = "INTERNAL"


def let_go(error: AnyError) -> AnyError:
    """Return `error` after removing the tracebacks of it and of its causes.

    A traceback keeps its frames and all of their variables alive. Where a frame also keeps the exception, as in asyncio
    and aiohttp, that is a reference cycle: each failed read left 30 kB for the garbage collector.
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
