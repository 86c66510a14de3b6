"""The base of every section of the configuration file: camelCase keys, no unknown keys, frozen after loading."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
