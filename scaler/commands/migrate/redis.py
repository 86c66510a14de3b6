"""Migrates KEDA's `redis` and `redis-sentinel` triggers: lists of Sidekiq become queues of source `sidekiq`."""

import re
from zlib import crc32

from scaler.clients.redis.server import URL_FORMS, parse_url
from scaler.commands.migrate.model import FROM_ENV, Connection, Left, Sidekiq, TriggerContext

_LIST = re.compile(r"(?:(?P<prefix>[^:]+(?::[^:]+)*):)?queue:(?P<queue>[^|]+)")
SECRET = re.compile(r"Secret (?P<name>\S+), key (?P<key>\S+)")
"""The form in which `Parameter.where` names a Secret."""
STAND_IN = "SECRET-WITH-THE-PASSWORD"
_MAX_NAME = 35
"""Of a connection: the chart takes 50 characters for the name of a mount, `redis-NAME-sentinel`."""
_TLS = ("tls", "ca", "cert", "key")
_PASSWORDS = ("password", "sentinelPassword", "username", "sentinelUsername")


def translate(context: TriggerContext) -> Sidekiq:
    """Return the queue for a list of Sidekiq; raises `Left` for a list of another program."""
    name = context.metadata.get("listName", "")
    found = _LIST.fullmatch(name)
    if "listName" + FROM_ENV in context.metadata:
        raise Left("listNameFromEnv does not tell whether it is a queue of Sidekiq; write listName to have it migrated")
    if found is None:
        raise Left(
            f"list {name[:80] or 'without a name'} is none of Sidekiq's `queue:NAME`; it stays with KEDA's redis scaler"
        )
    return Sidekiq(
        connection(context),
        (found["queue"],),
        "waiting",
        context.metadata.get("listLength", "5"),
        context.metadata.get("activationListLength", ""),
        found["prefix"] or "",
        {"queues": "listName", "target": "listLength", "activation": "activationListLength"},
    )


def connection(context: TriggerContext) -> Connection:
    """Return the Redis of a trigger: a URL if all of it is known and not secret, else a named connection."""
    sentinel = context.trigger.type == "redis-sentinel"
    hosts, doubts = _hosts(context, plural=sentinel)
    scheme = "rediss" if _true(context, "enableTLS") else "redis"
    if _true(context, "unsafeSsl"):
        doubts.append("unsafeSsl skipped the check of Redis' certificate; give the connection its CA as caFile instead")
    if tls := [name for name in _TLS if context.given(name)]:
        doubts.append(
            f"{', '.join(tls)} for TLS: where that is on, the connection's url begins with rediss://; its caFile, certFile and "
            "keyFile are mounted Secrets of the scaler's namespace"
        )
    database = context.metadata.get("databaseIndex", "0") or "0"
    master = _literal(context, "sentinelMaster", "MASTER", doubts) if sentinel else ""
    where = f"{master}/{database}" if sentinel else database
    url = f"{scheme}{'+sentinel' * sentinel}://{','.join(hosts)}/{where}"
    ref = context.trigger.authentication_ref
    if ref is not None and context.authentication is None:
        doubts.append(
            f"{ref.kind} {ref.name} is not among the files: give migrate its file too, or the connection the password that it hands over"
        )
    secrets = [name for name in _PASSWORDS if context.given(name)]
    if not doubts and not secrets:
        try:
            parse_url(url)
        except ValueError:
            raise Left(f"its address and database do not make a URL: {URL_FORMS}") from None
        return Connection(url=url)
    named = context.options.redis or _name(hosts[0], master, database)
    if "username" in secrets:
        user = _literal(context, "username", "USER", doubts)
        url = url.replace("://", f"://{user}@", 1)
    config, mounts = [("url", url)], []
    for name, key, mount in (
        ("password", "passwordFile", f"redis-{named}"),
        ("sentinelPassword", "sentinelPasswordFile", f"redis-{named}-sentinel"),
    ):
        if name in secrets:
            found = SECRET.search(context.where(name))
            path = f"/etc/keda-queue-scaler/secrets/{mount}/{found['key'] if found else 'password'}"
            config.append((key, path))
            mounts.append((mount, found["name"] if found else STAND_IN))
            named_so = "" if found else f"; put its name in the place of {STAND_IN}"
            doubts.append(
                f"{name} comes from {context.where(name)}: it must be a Secret in the scaler's namespace too, mounted as "
                f"{path}{named_so}"
            )
    return Connection(name=named, config=tuple(config), mounts=tuple(mounts), doubts=tuple(doubts))


def _hosts(context: TriggerContext, *, plural: bool) -> tuple[list[str], list[str]]:
    """Return HOST:PORT of each server, and doubts about them."""
    doubts: list[str] = []
    key, host, port = ("addresses", "hosts", "ports") if plural else ("address", "host", "port")
    if context.given(key):
        return [part.strip() for part in _literal(context, key, "HOST:6379", doubts).split(",")], doubts
    if not context.given(host):
        return ["HOST:6379"], [f"neither {key} nor {host} is known; put the address into the connection's url"]
    hosts = _literal(context, host, "HOST", doubts).split(",")
    ports = _literal(context, port, "6379", doubts).split(",")
    if len(ports) != len(hosts):
        ports = ports[:1] * len(hosts)
    return [f"{name.strip()}:{number.strip()}" for name, number in zip(hosts, ports, strict=True)], doubts


def _literal(context: TriggerContext, key: str, stand_in: str, doubts: list[str]) -> str:
    """Return the value in the metadata, or `stand_in` and add a doubt."""
    if value := context.metadata.get(key):
        return value
    doubts.append(f"{key} comes from {context.where(key)}: put it in the place of {stand_in} in the connection's url")
    return stand_in


def _true(context: TriggerContext, key: str) -> bool:
    return context.metadata.get(key) == "true"


def _name(server: str, master: str, database: str) -> str:
    """Return a name for the connection that says which server, master and database it is; `main` for an unknown host."""
    host, _, port = server.lower().rpartition(":")
    if host in {"host", ""}:
        return "main"
    parts = (
        host.removesuffix(".cluster.local").removesuffix(".svc"),
        "" if port in {"6379", "26379"} else port,
        master.lower(),
        "" if database == "0" else f"db{database}",
    )
    whole = "-".join(filter(None, parts))
    name = re.sub("[^a-z0-9]+", "-", whole).strip("-")
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 9]}-{crc32(whole.encode()):08x}"
