"""AWS for tests: an environment without the real one's secrets, moto's server over HTTP, and stubs that hold recorded answers.

boto3 and moto are imported when first used: most test processes need neither.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from probes.cloud.aws import Aws
from probes.config import AwsOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "ap-northeast-1"
#: a port on loopback where nothing listens: a call that is not stubbed fails at once instead of leaving the machine
NOWHERE = "http://127.0.0.1:1"


@cache
def _loader(search_path: str | None = None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(search_path)


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path, endpoint: str = NOWHERE) -> None:
    """Nothing of the real environment: no ~/.aws, no metadata service, credentials that open nothing, loopback only."""
    import botocore.session

    # the model of EC2 takes long to parse, and each session would parse it anew
    monkeypatch.setattr(botocore.session, "create_loader", _loader)
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)


_OPTIONS = """<DescribeVpcBlockPublicAccessOptionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>r</requestId><vpcBlockPublicAccessOptions><awsAccountId>123456789012</awsAccountId>
<awsRegion>ap-northeast-1</awsRegion><state>default-state</state>
<internetGatewayBlockMode>off</internetGatewayBlockMode><managedBy>account</managedBy>
<exclusionsAllowed>allowed</exclusionsAllowed></vpcBlockPublicAccessOptions>
</DescribeVpcBlockPublicAccessOptionsResponse>"""
_EXCLUSIONS = """<DescribeVpcBlockPublicAccessExclusionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>r</requestId><vpcBlockPublicAccessExclusionSet/></DescribeVpcBlockPublicAccessExclusionsResponse>"""


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's own server on loopback; yields its address.

    It is taught what it lacks: two filters of interfaces, and VPC Block Public Access, which is off.
    """
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface
    from moto.ec2.responses import EC2Response
    from moto.server import ThreadedMotoServer

    original = NetworkInterface.get_filter_value

    def filter_value(self: Any, name: str, method: str | None = None) -> Any:
        if name == "association.public-ip":
            return self.public_ip
        if name == "ipv6-addresses.ipv6-address":
            return [one["Ipv6Address"] for one in self.ipv6_addresses or ()]
        return original(self, name, method)

    with pytest.MonkeyPatch.context() as patch:
        # thousands of images that no test needs
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        patch.setattr(NetworkInterface, "get_filter_value", filter_value)
        for name, xml in (("options", _OPTIONS), ("exclusions", _EXCLUSIONS)):
            method = f"describe_vpc_block_public_access_{name}"
            patch.setattr(EC2Response, method, lambda _self, xml=xml: xml, raising=False)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


class Recorded:
    """Recorded answers by method, given to every client through botocore's Stubber, which checks them against the model.

    An answer is a dictionary, an error code, an exception, or a function of the parameters that gives one of these. A
    method without one answers emptily. ``calls`` are what was asked, in order.
    """

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.clients: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def __call__(self, client: Any, service: str, region: str) -> None:
        """Stub a new client: ``Aws(options, configure=recorded)``."""
        from botocore.awsrequest import AWSResponse
        from botocore.stub import Stubber

        recorded = self
        methods = {api: method for method, api in client.meta.method_to_api_mapping.items()}

        class ByName(Stubber):
            """Answers by operation instead of in one order: questions go out at the same time."""

            def _assert_expected_params(self, model: Any, params: Any, context: Any, **_more: Any) -> None:
                with recorded._lock:
                    recorded.calls.append((model.name, params))

            def _get_response_handler(self, model: Any, params: Any, context: Any, **_more: Any) -> Any:
                answer = recorded.answers.get(methods[model.name], {})
                if callable(answer):
                    answer = answer(recorded.calls_of(model.name)[-1])
                if isinstance(answer, BaseException):
                    raise answer
                if isinstance(answer, str):
                    error = {"Error": {"Code": answer, "Message": f"secret-message of {answer}"}}
                    return AWSResponse(None, 400, {}, None), {"ResponseMetadata": {"HTTPStatusCode": 400}, **error}
                self._validate_operation_response(model.name, answer)
                return AWSResponse(None, 200, {}, None), answer

        self.clients.append((service, region))
        ByName(client).activate()

    def calls_of(self, name: str) -> list[dict[str, Any]]:
        return [params for called, params in self.calls if called == name]

    def aws(self, **options: Any) -> Aws:
        return Aws(AwsOptions(**{"region": REGION, **options}), configure=self)


def world() -> dict[str, Any]:
    """A healthy host as AWS describes it, by method; a fresh copy each time."""
    group, interface = "sg-1", "eni-1"
    address, instance = "3.115.141.166", "i-0123456789abcdef0"
    association = {"AllocationId": "eipalloc-1", "AssociationId": "eipassoc-1", "PublicIp": address}
    own_interface = {
        "NetworkInterfaceId": interface,
        "SubnetId": "subnet-1",
        "VpcId": "vpc-1",
        "PrivateIpAddress": "10.0.1.4",
        "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": "10.0.1.4"}],
        "Ipv6Addresses": [],
        "Groups": [{"GroupId": group, "GroupName": "gpu"}],
    }
    return {
        "describe_network_interfaces": {
            "NetworkInterfaces": [
                {
                    **own_interface,
                    "AvailabilityZone": f"{REGION}a",
                    "Association": {**association, "IpOwnerId": "123456789012"},
                    "Attachment": {"InstanceId": instance, "DeviceIndex": 0, "Status": "attached"},
                }
            ]
        },
        "describe_addresses": {
            "Addresses": [{**association, "Domain": "vpc", "NetworkInterfaceId": interface, "InstanceId": instance}]
        },
        "describe_instances": {
            "Reservations": [
                {
                    "Instances": [
                        {
                            "InstanceId": instance,
                            "State": {"Code": 16, "Name": "running"},
                            "InstanceType": "g4dn.xlarge",
                            "InstanceLifecycle": "spot",
                            "LaunchTime": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
                            "Placement": {"AvailabilityZone": f"{REGION}a"},
                            "PublicIpAddress": address,
                            "NetworkInterfaces": [
                                {
                                    **own_interface,
                                    "Association": {"PublicIp": address, "IpOwnerId": "123456789012"},
                                    "Attachment": {"DeviceIndex": 0, "Status": "attached"},
                                }
                            ],
                            "MetadataOptions": {
                                "HttpTokens": "optional",
                                "HttpPutResponseHopLimit": 1,
                                "HttpEndpoint": "enabled",
                            },
                        }
                    ]
                }
            ]
        },
        "describe_instance_status": {
            "InstanceStatuses": [
                {
                    "InstanceId": instance,
                    "InstanceState": {"Code": 16, "Name": "running"},
                    "SystemStatus": {"Status": "ok"},
                    "InstanceStatus": {"Status": "ok"},
                }
            ]
        },
        "describe_security_group_rules": {
            "SecurityGroupRules": [
                {
                    "SecurityGroupRuleId": "sgr-1",
                    "GroupId": group,
                    "IsEgress": False,
                    "IpProtocol": "tcp",
                    "FromPort": 22,
                    "ToPort": 22,
                    "CidrIpv4": "198.51.100.0/24",
                },
                {
                    "SecurityGroupRuleId": "sgr-2",
                    "GroupId": group,
                    "IsEgress": True,
                    "IpProtocol": "-1",
                    "FromPort": -1,
                    "ToPort": -1,
                    "CidrIpv4": "0.0.0.0/0",
                },
            ]
        },
        "describe_network_acls": {
            "NetworkAcls": [
                {
                    "NetworkAclId": "acl-1",
                    "Associations": [{"SubnetId": "subnet-1", "NetworkAclId": "acl-1"}],
                    "Entries": [
                        {
                            "RuleNumber": number,
                            "Protocol": "-1",
                            "RuleAction": action,
                            "Egress": egress,
                            "CidrBlock": "0.0.0.0/0",
                        }
                        for egress in (True, False)
                        for number, action in ((100, "allow"), (32767, "deny"))
                    ],
                }
            ]
        },
        "describe_route_tables": {
            "RouteTables": [
                {
                    "RouteTableId": "rtb-1",
                    "VpcId": "vpc-1",
                    "Associations": [{"Main": False, "SubnetId": "subnet-1", "RouteTableId": "rtb-1"}],
                    "Routes": [
                        {
                            "DestinationCidrBlock": "10.0.0.0/16",
                            "GatewayId": "local",
                            "State": "active",
                            "Origin": "CreateRouteTable",
                        },
                        {
                            "DestinationCidrBlock": "0.0.0.0/0",
                            "GatewayId": "igw-1",
                            "State": "active",
                            "Origin": "CreateRoute",
                        },
                    ],
                }
            ]
        },
        "describe_vpc_block_public_access_options": {
            "VpcBlockPublicAccessOptions": {
                "AwsAccountId": "123456789012",
                "AwsRegion": REGION,
                "State": "default-state",
                "InternetGatewayBlockMode": "off",
                "ManagedBy": "account",
            }
        },
        "describe_vpc_block_public_access_exclusions": {"VpcBlockPublicAccessExclusions": []},
    }
