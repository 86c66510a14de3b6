import pytest
from pydantic import SecretStr, ValidationError

from scaler.clients.redis.server import MAX_SENTINELS, RedisServer, RedisUrl, parse_url


@pytest.mark.parametrize(
    ("url", "hosts", "database", "login"),
    [
        ("redis://cache", (("cache", 6379),), 0, (None, None)),
        ("redis://Cache.shop.svc:6380/3", (("cache.shop.svc", 6380),), 3, (None, None)),
        ("redis://cache/", (("cache", 6379),), 0, (None, None)),
        ("redis://:canary@cache", (("cache", 6379),), 0, (None, "canary")),
        ("redis://canary@cache", (("cache", 6379),), 0, (None, "canary")),
        ("rediss://scaler:can%40ry@10.0.0.1:6380/0", (("10.0.0.1", 6380),), 0, ("scaler", "can@ry")),
        ("redis://scaler:can+ry@cache", (("cache", 6379),), 0, ("scaler", "can ry")),
        ("redis://[2001:DB8::1]:7000/1", (("2001:db8::1", 7000),), 1, (None, None)),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_url_is_read_as_the_workers_read_it(
    url: str, hosts: tuple[tuple[str, int], ...], database: int, login: tuple[str | None, str | None]
) -> None:
    parsed = parse_url(url)
    assert (parsed.hosts, parsed.database) == (hosts, database)
    assert (parsed.username, parsed.password) == login
    assert parsed.master is None
    assert parsed.tls == url.startswith("rediss")


def test_sentinel_url_names_sentinels_master_and_database() -> None:
    parsed = parse_url("redis+sentinel://u:p@s1,s2:26380/my-master/2")
    assert parsed.hosts == (("s1", 26379), ("s2", 26380))
    assert (parsed.master, parsed.database) == ("my-master", 2)
    assert str(parsed) == "redis+sentinel://s1:26379,s2:26380/my-master/2"
    assert parsed.each_host() == ("redis+sentinel://s1:26379/my-master/2", "redis+sentinel://s2:26380/my-master/2")


@pytest.mark.parametrize(
    ("url", "database"), [("rediss+sentinel://s1/m", 0), ("redis+sentinel://s1/m/", 0), ("redis+sentinel://s1/m/7", 7)]
)
def test_sentinel_url_without_database_or_with_tls(url: str, database: int) -> None:
    parsed = parse_url(url)
    assert (parsed.tls, parsed.database, parsed.master) == (url.startswith("rediss"), database, "m")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cache:6379",
        "http://cache",
        "unix:///var/run/redis.sock",
        "redis://",
        "redis://:canary@",
        "redis://:canary@/0",
        "redis://:can#ary@cache",
        "redis://:canary@cache/x",
        "redis://:canary@cache/0/1",
        "redis://:canary@cache/-1",
        "redis://:canary@cache/0?db=3",
        "redis://:canary@cache:0",
        "redis://:canary@cache:70000",
        "redis://:canary@cache:6379x",
        "redis://:canary@a,b",
        "redis://:canary@ca che",
        "redis://:canary@[::1",
        "redis://:canary@[::zz]",
        "redis://:canary@caché\N{FULLWIDTH NUMBER SIGN}",
        "redis+sentinel://:canary@s1",
        "redis+sentinel://:canary@s1/",
        "redis+sentinel://:canary@s1/a%20b",
        "redis+sentinel://:canary@s1/m/0/0",
        f"redis+sentinel://:canary@{','.join(f's{number}' for number in range(MAX_SENTINELS + 1))}/m",
    ],
)
def test_wrong_url_is_told_without_a_part_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis://.*percent-encode") as error:
        parse_url(url)
    assert "canary" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_password_is_not_shown() -> None:
    parsed = parse_url("redis://canary-user:canary-word@cache/1")
    assert parsed == RedisUrl("redis", (("cache", 6379),), 1, None, "canary-user", "canary-word")
    assert "canary" not in f"{parsed} {parsed!r} {parsed.each_host()}"


def test_configuration_names_files_and_hides_the_url() -> None:
    server = RedisServer.model_validate(
        {"url": "rediss://:canary@cache/1", "passwordFile": "/p", "caFile": "/ca", "certFile": "/c", "keyFile": "/k"}
    )
    assert server.where.database == 1
    assert "canary" not in f"{server} {server!r} {server.model_dump()}"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"url": "redis://:canary@"}, "redis://"),
        ({"url": "redis://:canary@cache", "caFile": "/ca"}, "need a rediss:// URL"),
        ({"url": "rediss://:canary@cache", "keyFile": "/k"}, "keyFile needs certFile"),
        ({"url": "redis://:canary@cache", "pasword_file": "/p"}, "pasword_file"),
    ],
    ids=["url", "tls files without tls", "key without certificate", "misspelt"],
)
def test_wrong_configuration_is_told_without_the_password(entry: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as error:
        RedisServer.model_validate(entry)
    assert "canary" not in str(error.value)


def test_servers_with_equal_urls_are_equal() -> None:
    one, same, other = (RedisServer(url=SecretStr(f"redis://:{word}@cache")) for word in ("a", "a", "b"))
    assert one == same != other
