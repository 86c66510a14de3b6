"""The base of every section of the configuration file: camelCase keys, no unknown keys, frozen after loading."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A section of the configuration; a misspelt key is an error, not a default."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section class in `annotation`, which may also be a list or a mapping of sections."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def written(name: str, field: FieldInfo) -> str:
    """Return the key of a field in the file."""
    return field.alias or to_camel(name)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is most similar to the unknown `name`, if any is."""
    return next(iter(difflib.get_close_matches(name, [*known], n=1)), None)


_OF_NO_SETTING = re.compile(
    r"CONFIG|(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""The option `--config`, and what Kubernetes sets for Services whose name begins with that of the program."""
_OF_A_PORT = re.compile(r"(\w+_)?PORT=(tcp|udp|sctp)://.*")
"""Kubernetes sets that, too; with another value it is an attempt at a setting."""


def stray_variables(environ: Mapping[str, str], model: type[BaseModel], prefix: str) -> list[str]:
    """Return a sentence for each variable with `prefix` that is no field of `model`; it never shows a value."""
    found = []
    for variable, value in environ.items():
        name = variable.upper().removeprefix(prefix)
        field = name.partition("__")[0].lower()
        ours = re.fullmatch(r"\w+", variable) and name != variable.upper() and field not in model.model_fields
        if not ours or _OF_NO_SETTING.fullmatch(name) or _OF_A_PORT.fullmatch(f"{name}={value}"):
            continue
        near = nearest(name, _variables(model))
        known = ", ".join(prefix + field.upper() for field in model.model_fields)
        hint = f"did you mean {prefix}{near}?" if near else f"known: {known}"
        found.append(f"{variable} in the environment is no setting and has no effect; {hint}")
    return found


def _variables(model: type[BaseModel]) -> Iterator[str]:
    """Yield the variable of each field, those within sections after `__`; NAME stands for a name that the user chooses."""
    for name, field in model.model_fields.items():
        own, section, kind = name.upper(), section_of(field.annotation), get_origin(field.annotation)
        if section is None or kind in {dict, tuple}:  # with JSON as a whole, too
            yield own
        if section is not None and kind is not tuple:
            between = "__NAME__" if kind is dict else "__"
            yield from (f"{own}{between}{inner}" for inner in _variables(section))
