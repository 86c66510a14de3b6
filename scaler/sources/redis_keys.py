"""The metadata keys that say which Redis to read, for every source on Redis."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from scaler.clients.redis.server import CONNECTION_NAME, RedisRef, address, parse_url
from scaler.sources.base import Claim, Trigger, matching

_ALLOWED = (
    "the name of a connection in the scaler's configuration: letters, digits and `.` `_` `-`; "
    "a URL belongs under redisURL, better as redisURLFromEnv"
)
Connection = Annotated[str, matching(CONNECTION_NAME, _ALLOWED)]


class RedisKeys(Trigger):
    """A trigger on one Redis, named in the configuration or given by its URL."""

    redis: Connection | None = Field(
        None,
        json_schema_extra={"secret": True},  # a user who takes it for `redisURL` writes a password here
        description="A connection named in the scaler's configuration. Either this or `redisURL`.",
    )
    redis_url: SecretStr | None = Field(
        None,
        alias="redisURL",
        description="`redis://`, `rediss://` or `redis+sentinel://host:port,…/master/db`; typically `redisURLFromEnv: REDIS_URL`.",
        json_schema_extra={"secret": True},
    )

    @field_validator("redis_url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parse_url(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _check_redis(self) -> Self:
        if (self.redis is None) == (self.redis_url is None):
            raise ValueError(
                "redis, redisURL: exactly one is required: a connection of the configuration, or a URL, "
                "such as redisURLFromEnv: REDIS_URL"
            )
        return self

    def redis_ref(self) -> RedisRef:
        """Return the reference to its Redis that the places of this trigger contain."""
        if self.redis_url is None:
            return RedisRef(f"redis/{self.redis}", name=self.redis)
        url = parse_url(self.redis_url.get_secret_value())
        # The master that a Sentinel names is checked by the rules of one namespace, so others may not share the
        # connection.
        namespace = self.namespace if url.master is not None else None
        return RedisRef(f"redis/{','.join(address(*host) for host in url.hosts)}", None, self.redis_url, namespace)

    def redis_claims(self) -> tuple[Claim, ...]:
        """Return the named connection, or the URL without user name and password; one claim for each Sentinel."""
        if self.redis_url is None:
            return (Claim("redis", self.redis or ""),)
        return tuple(Claim("url", url) for url in parse_url(self.redis_url.get_secret_value()).each_host())
