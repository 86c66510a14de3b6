"""The reference page of the configuration, from the models of the settings."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic.alias_generators import to_camel, to_snake

from scaler.settings import Settings

_HEAD = """\
# Configuration

Generated from the models of the settings by `python -m tools`; not to be edited.

`scaler serve --config FILE` reads one YAML file. Every key is also a variable of the environment, `SCALER_` and its
path with two underscores between the levels; lists and whole sections are JSON there. Flags win over the environment,
and the environment over the file. A misspelt key is an error that names it. A variable `SCALER_…` that is no setting
is told as a warning when the server starts and by the commands that read the configuration, with the one that may be
meant. It is no error, because others write into the environment, too, and the scaler must start all the same. What
Kubernetes sets for a Service whose name begins with `scaler` is neither told nor taken for a setting. Passwords belong
into files: every `…File` is read again when it changes.

```yaml
redis:
  main: {url: "rediss://redis.shop.svc:6379/0", passwordFile: /etc/keda-queue-scaler/secrets/redis/password}
aws:
  roles:
    - {arn: "arn:aws:iam::*:role/keda-*", namespaces: ["shop-*"]}
access:  # none: everything is allowed, and the log says so at start
  - namespaces: ["shop-*"]
    sqs: ["arn:aws:sqs:eu-west-1:123456789012:shop-*"]
    redis: [main]
```
"""


def render() -> str:
    """Return the page."""
    schema = Settings.model_json_schema(by_alias=True)
    fields = {to_camel(name): field for name, field in schema["properties"].items()}
    simple = {name: field for name, field in fields.items() if _section(field, schema) is None}
    parts = [_HEAD, "## At the top", _table(simple, "SCALER")]
    for name, field in fields.items():
        if name not in simple:
            parts += _sections(name, name, field, schema)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _sections(path: str, env: str, field: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the heading, text and table of a section, and then of the sections within it."""
    section = _section(field, schema) or {}
    inner = {name: one for name, one in section["properties"].items() if _section(one, schema) is not None}
    yield f"## `{path}`"
    yield str(section["description"]).partition("\n")[0]
    if text := field.get("description"):
        yield text
    plain = {name: one for name, one in section["properties"].items() if name not in inner}
    in_list = field.get("type") == "array"
    by_name = "additionalProperties" in field
    where = "" if in_list else f"SCALER_{_env(env)}" + ("__NAME" if by_name else "")
    if in_list:
        yield f"In the environment the whole list is JSON: `SCALER_{_env(env)}`."
    if plain:
        yield _table(plain, where, required=section.get("required", ()))
    for name, one in inner.items():
        yield from _sections(f"{path}.{name}", f"{env}.{name}", one, schema)


def _env(path: str) -> str:
    return "__".join(to_snake(part).upper() for part in path.split("."))


def _section(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the section that `field` is, or is a list or mapping of."""
    options = (field, field.get("items", {}), field.get("additionalProperties", {}), *field.get("anyOf", ()))
    name = next((option["$ref"] for option in options if isinstance(option, dict) and "$ref" in option), None)
    return None if name is None else schema["$defs"][name.rpartition("/")[2]]


def _table(fields: Mapping[str, Mapping[str, Any]], env: str, required: Collection[str] = ()) -> str:
    head = "| key | environment | value | default | meaning |" if env else "| key | value | default | meaning |"
    rows = [head, "|---" * (head.count("|") - 1) + "|"]
    for name, field in fields.items():
        cells = [f"`{name}`", f"`{env}__{_env(name)}`" if env != "SCALER" else f"`SCALER_{_env(name)}`"]
        cells += [_value(field), "required" if name in required else _default(field), field.get("description", "")]
        rows.append("| " + " | ".join(cell for index, cell in enumerate(cells) if env or index != 1) + " |")
    return "\n".join(rows)


def _value(field: Mapping[str, Any]) -> str:
    kind = next((option for option in field.get("anyOf", ()) if option.get("type") != "null"), field)
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if kind["type"] == "array":
        return "list"
    if kind["type"] == "boolean":
        return "`true`, `false`"
    if kind["type"] == "string":
        return "file" if kind.get("format") == "path" else "text"
    bounds = [
        text.format(kind[word])
        for word, text in (
            ("exclusiveMinimum", "above {:g}"),
            ("minimum", "{:g} or more"),
            ("maximum", "{:g} or less"),
        )
        if word in kind
    ]
    return ", ".join([kind["type"], *bounds])


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default in (None, "", [], {}):
        return ""
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"
