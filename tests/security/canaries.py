"""A program with a secret in every field that can hold one."""

import asyncio
import base64
import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import trustme
import yaml

from scaler.demo.valkey import free_port

CANARY = "canary+wörd"
"""Every secret begins so; it looks different when it is percent-encoded or written as JSON."""
NAMES = itertools.count()
COMMAND = ("-c", "from scaler.cli import main; main()")


def canary(where: str) -> str:
    return f"{CANARY}-{where}"


def url_canary(where: str) -> str:
    return quote(canary(where), safe="")


def leaks(text: str) -> list[str]:
    """Return the lines of `text` that hold a canary in any of its spellings."""
    spellings = {CANARY, quote(CANARY, safe=""), quote(CANARY), json.dumps(CANARY)[1:-1], CANARY.encode().hex()}
    spellings |= {CANARY.replace("ö", "Ã¶"), "canary", "".join(f"%{byte:02x}" for byte in b"canary")}
    spellings |= {"".join(f"{mark}{byte:02x}" for byte in b"canary") for mark in ("\\x", "\\u00", "&#x")}
    spellings |= {_within_base64(before) for before in range(3)}
    return [line for line in text.splitlines() if any(spelling in line for spelling in spellings)]


def _within_base64(before: int) -> str:
    """Return what the word looks like in base64 after `before` other bytes (modulo 3)."""
    text = base64.b64encode(bytes(before) + b"canary").decode()
    return text[-(-before * 8 // 6) : (before + 6) * 8 // 6]


class Program:
    """`scaler serve` with a configuration full of canaries."""

    def __init__(self, folder: Path, echo: int, redis_echo: int, sentinel_echo: int, tls: int) -> None:
        self.folder, self.echo, self.redis_echo = folder, echo, redis_echo
        self.sentinel_echo, self.tls = sentinel_echo, tls
        self.port, self.http_port = free_port(), free_port()
        self.ca = trustme.CA()
        self.config = folder / "config.yaml"
        self._process: asyncio.subprocess.Process | None = None

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def write(self) -> None:
        issued = self.ca.issue_cert("localhost")
        key = f"# {canary('tls-key')}\n{issued.private_key_pem.bytes().decode()}"
        chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
        redis = f"127.0.0.1:{self.redis_echo}"
        kubeconfig = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.echo}"}}],
            "users": [{"name": "u", "user": {"token": base64.b64encode(canary("kube").encode()).decode()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self.http_port}",
            "healthListen": "127.0.0.1:0",
            "log": {"level": "debug", "format": "json"},
            "tls": {"certFile": self.file("tls.crt", chain), "keyFile": self.file("tls.key", key)},
            "redis": {
                "inline": {"url": f"redis://{url_canary('user')}:{url_canary('redis')}@{redis}/1"},
                "file": {"url": f"redis://{redis}", "passwordFile": self.file("redis", canary("redis-file"))},
                "sentinel": {  # whose password can be a host's name, in lower case
                    "url": f"redis+sentinel://:{url_canary('redis')}@127.0.0.1:{self.sentinel_echo}/mymaster/0",
                    "sentinelPasswordFile": self.file("sentinel", "Canary-Sentinel"),
                },
            },
            "prometheus": {
                "inline": {"url": f"http://u:{url_canary('prometheus')}@127.0.0.1:{self.echo}"},
                "token": {"url": f"http://127.0.0.1:{self.echo}", "tokenFile": self.file("token", "canary-token")},
            },
            "aws": {
                "roles": [
                    {"arn": "arn:aws:iam::123456789012:role/*", "namespaces": ["*"], "externalId": "canary-external-id"}
                ],
                "allowedEndpoints": ["http://127.0.0.1:*"],
            },
            "kubernetes": {"kubeconfig": self.file("kubeconfig", yaml.safe_dump(kubeconfig))},
            "page": {"tokenFile": self.file("page", "canary-page-token")},
            "drain": {"waitSeconds": 0, "graceSeconds": 0},
        }
        self.config.write_text(yaml.safe_dump(settings))

    @property
    def env(self) -> dict[str, str]:
        aws = {
            "AWS_ACCESS_KEY_ID": "canary-key-id",
            "AWS_SECRET_ACCESS_KEY": "canary-secret-key",
            "AWS_SESSION_TOKEN": "canary-session-token",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{self.echo}",
        }
        return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | aws

    def triggers(self) -> Iterator[dict[str, str]]:
        """Yield triggers with a secret in each key that can hold one, on backends that quote it or are not there."""
        nobody = free_port()
        for host in (f"127.0.0.1:{self.echo}", f"127.0.0.1:{nobody}"):
            base = {"source": "workqueue", "queues": "orders"}
            yield {**base, "metricsURL": f"http://u:{url_canary('page')}@{host}/metrics?token={url_canary('query')}"}
            yield {**base, "metricsURLFromEnv": f"http://{url_canary('page')}@{host}/metrics"}
            yield {**base, "prometheusURL": f"http://u:{url_canary('prometheus')}@{host}"}
            yield {"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1", "awsEndpoint": f"http://{host}"}
        for host in (f"127.0.0.1:{self.redis_echo}", f"127.0.0.1:{nobody}"):
            base = {"source": "sidekiq", "queues": "default"}
            schemes = (("redis", "/0"), ("rediss", "/0"), ("redis+sentinel", "/mymaster/0"))
            for scheme, path in schemes if host.endswith(str(nobody)) else schemes[::2]:  # no TLS where it would quote
                yield {**base, "redisURL": f"{scheme}://u:{url_canary('redis')}@{host}{path}"}
            yield {**base, "redisURLFromEnv": f"redis://:{url_canary('redis')}@{host}/x/{url_canary('path')}"}
        yield {"source": "workqueue", "queues": "orders", "metricsURL": f"https://127.0.0.1:{self.tls}/"}
        yield {**base, "redisURL": f"rediss://127.0.0.1:{self.tls}"}
        for name in ("inline", "file", "sentinel"):
            yield {"source": "sidekiq", "queues": "default", "redis": name}
        for name in ("inline", "token"):
            yield {"source": "workqueue", "queues": "orders", "prometheus": name}
        role = {"awsRoleArn": "arn:aws:iam::123456789012:role/worker", "awsRegion": "eu-west-1", "queueURL": "q"}
        yield {"source": "sqs", **role}
        yield {"source": "flux", "controller": "kustomize-controller"}
        yield {"source": "argocd", "component": "application-controller"}
        # And mistakes, which quote what is wrong.
        yield {"source": "sidekiq", "queues": "default", "redisURL": f"http://:{canary('scheme')}@h"}
        yield {"source": "sidekiq", "queues": "default", "redisURLFromEnv": canary("no-url")}
        yield {"source": "workqueue", "queues": "orders", "metricsURL": f"ftp://u:{canary('scheme')}@h/"}
        yield {"source": "workqueue", "queuesFromEnv": "orders", "metricsURL": f"http://u:{canary('port')}@h:x/"}
        yield {"source": "workqueue", "queues": "orders", "prometheusURL": f"u:{canary('no-scheme')}@h"}
        yield {"sourceFromEnv": canary("source")}
        yield {"source": "workqueue", "queues": "o", "metricsURL": "http://h/", "queueLengthFromEnv": canary("number")}

    async def run(self, *arguments: str) -> tuple[str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return out.decode(), err.decode()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            "serve",
            "--config",
            str(self.config),
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
        )

    async def stop(self) -> str:
        """End it and return what it wrote to standard error."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(self._process.communicate(), 20)
        return err.decode()
