import botocore.session
import pytest
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scaler.clients.aws.settings import REGION, AwsSettings, RoleGrant, is_aws_host, partition_of, region_of_host

SESSION = botocore.session.Session()
PARTITIONS = Loader().load_data("partitions")["partitions"]
REGIONS = [region for partition in PARTITIONS for region in partition["regions"] if "global" not in region]


@pytest.mark.parametrize("region", [*REGIONS, "eu-east-9", "us-gov-north-1", "cn-west-7", "us-isob-west-2"])
def test_partitions_are_those_of_botocore(region: str) -> None:
    assert partition_of(region) == SESSION.get_partition_for_region(region)


def test_a_region_like_no_other_is_taken_for_one_of_aws() -> None:
    assert partition_of("moon-base-1") == "aws"


@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize("dual_stack", [False, True])
def test_the_hosts_of_every_region_are_known(fips: bool, dual_stack: bool) -> None:  # noqa: FBT001 - a table
    for partition in PARTITIONS:
        domain = partition["outputs"]["dualStackDnsSuffix" if dual_stack else "dnsSuffix"]
        for region in partition["regions"]:
            if "global" not in region:
                host = f"sqs{'-fips' if fips else ''}.{region}.{domain}"
                assert region_of_host(host) == region
                assert is_aws_host(f"https://{host}")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("queue.amazonaws.com", "us-east-1"),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
        ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
        ("vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("vpce-0a1b-2c3d-eu-west-1a.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("SQS.EU-WEST-1.AMAZONAWS.COM", "eu-west-1"),
    ],
)
def test_other_hosts_of_sqs_are_known(host: str, region: str) -> None:
    assert region_of_host(host) == region
    assert is_aws_host(f"https://{host}")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "sqs",
        "amazonaws.com",
        "sqs.amazonaws.com",
        "sqs.s3.amazonaws.com",  # a bucket called sqs
        "sqs.s3-eu-west-1.amazonaws.com",
        "sqs.s3.eu-west-1.amazonaws.com",
        "sqs.eu-west-1.elb.amazonaws.com",
        "sqs.eu-west-1.amazonaws.com.example.com",
        "example-sqs.eu-west-1.amazonaws.com",
        "sqs.eu-west-1.example.com",
        "sns.eu-west-1.amazonaws.com",
        "x.queue.amazonaws.com.example",
        "a.vpce-0a.sqs.eu-west-1.vpce.amazonaws.com",
        "169.254.169.254",
    ],
)
def test_hosts_of_others_are_not(host: str) -> None:
    assert region_of_host(host) is None
    assert not is_aws_host(f"https://{host}")


@pytest.mark.parametrize(
    "url",
    [
        "http://sqs.eu-west-1.amazonaws.com",
        "https://sqs.eu-west-1.amazonaws.com@example.com",
        "https://example.com/sqs.eu-west-1.amazonaws.com",
        "https://example.com?sqs.eu-west-1.amazonaws.com",
        "sqs.eu-west-1.amazonaws.com",
    ],
)
def test_only_https_to_the_host_itself_counts(url: str) -> None:
    assert not is_aws_host(url)


@given(st.from_regex(rf"\A{REGION}\Z"), st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", max_size=30))
def test_nothing_before_or_after_makes_a_host_of_sqs(region: str, text: str) -> None:
    assert region_of_host(f"sqs.{region}.amazonaws.com") == region
    assert region_of_host(f"sqs.{region}.amazonaws.com.{text}x") is None
    assert region_of_host(f"x{text}.sqs.{region}.amazonaws.com") is None


@pytest.mark.parametrize("external_id", ["", "x", "x" * 1225])
def test_an_external_id_that_aws_would_refuse_is_refused(external_id: str) -> None:
    with pytest.raises(ValidationError, match="externalId"):
        RoleGrant.model_validate({"arn": "*", "namespaces": ["*"], "externalId": external_id})


@pytest.mark.parametrize(
    ("namespace", "arn", "external_id"),
    [
        ("shop-a", "arn:aws:iam::123456789012:role/keda-shop", "first"),
        ("shop-a", "arn:aws:iam::123456789012:role/path/keda-shop", None),
        ("shop-a", "arn:aws:iam::123456789012:role/admin", None),
        ("bank", "arn:aws:iam::123456789012:role/keda-shop", None),
        ("ops", "arn:aws:iam::123456789012:role/keda-shop", "second"),
        ("Shop-a", "arn:aws:iam::123456789012:role/keda-shop", None),
    ],
)
def test_a_grant_is_for_a_role_and_a_namespace(namespace: str, arn: str, external_id: str | None) -> None:
    aws = AwsSettings(
        roles=(
            RoleGrant(arn="arn:aws:iam::*:role/keda-*", namespaces=("shop-*", "market"), external_id="first"),
            RoleGrant(arn="arn:aws:iam::*:role/keda-shop", namespaces=("ops", "shop-*"), external_id="second"),
        )
    )
    grant = aws.grant(namespace, arn)
    assert (grant and grant.external_id) == external_id
