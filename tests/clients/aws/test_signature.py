import datetime as dt

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from scaler.clients.aws.signature import Scope, signed_headers

NOW = dt.datetime(2026, 11, 22, 13, 41, 38, tzinfo=dt.UTC)


@pytest.mark.parametrize("token", [None, "session-token"])
@pytest.mark.parametrize(
    "url", ["https://sqs.eu-west-1.amazonaws.com/", "http://127.0.0.1:4566/", "http://[::1]:9324/"]
)
def test_the_signature_is_botocores(url: str, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ListQueues"}
    theirs = AWSRequest(method="POST", url=url, headers=plain, data=b"{}")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    SigV4Auth(Credentials("AKIA", "secret", token), "sqs", "eu-west-1").add_auth(theirs)
    credentials = ReadOnlyCredentials("AKIA", "secret", token)
    ours = signed_headers(credentials, Scope("eu-west-1", "sqs"), (url, plain, b"{}"), NOW.timestamp())
    assert ours == dict(theirs.headers.items())
    assert ours["X-Amz-Date"] == "20261122T134138Z"
    assert ours.get("X-Amz-Security-Token") == token


def test_what_is_signed_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    credentials = ReadOnlyCredentials("AKIA", "canary", "canary")
    signed_headers(credentials, Scope("eu-west-1", "sqs"), ("https://host/", {}, b""), NOW.timestamp())
    assert "canary" not in caplog.text
