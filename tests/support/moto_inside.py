"""moto's server in a network namespace, with listeners beside it, led line by line over stdin.

``python -m tests.support.moto_inside``: prints ``{"address": ...}``, then answers each line. ``{"call": METHOD, "region":
..., "with": {...}}`` calls EC2; ``{"listen": [ADDRESS, PORT]}`` accepts and holds connections there. What moto does not do
are recorded answers: ``{"checks": {"instance": ID, "system": S, "own": S}}`` for status checks that are not fine,
``{"block": {"region": R, "mode": M}}`` for VPC Block Public Access, ``{"deny": {"region": R, "method": M}}`` for a call
that may not be made.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
from typing import Any

from tests.support.aws import moto_server

_STATUS = """<DescribeInstanceStatusResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<instanceStatusSet><item><instanceId>{instance}</instanceId><availabilityZone>{region}a</availabilityZone>
<instanceState><code>16</code><name>running</name></instanceState>
<systemStatus><status>{system}</status></systemStatus><instanceStatus><status>{own}</status></instanceStatus>
</item></instanceStatusSet></DescribeInstanceStatusResponse>"""
_BLOCK = """<DescribeVpcBlockPublicAccessOptionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>r</requestId><vpcBlockPublicAccessOptions><awsAccountId>123456789012</awsAccountId>
<awsRegion>{region}</awsRegion><state>update-complete</state>
<internetGatewayBlockMode>{mode}</internetGatewayBlockMode><managedBy>account</managedBy>
<exclusionsAllowed>allowed</exclusionsAllowed></vpcBlockPublicAccessOptions>
</DescribeVpcBlockPublicAccessOptionsResponse>"""


class _Inside:
    def __init__(self, address: str) -> None:
        self.address = address
        self.checks: dict[str, dict[str, str]] = {}
        self.blocks: dict[str, str] = {}
        self.clients: dict[str, Any] = {}
        self.held: list[socket.socket] = []

    def record(self) -> None:
        """Put the recorded answers before moto's own."""
        from moto.ec2.responses import EC2Response

        statuses: Any = EC2Response.describe_instance_status
        options: Any = EC2Response.describe_vpc_block_public_access_options
        inside = self

        def describe_instance_status(response: Any) -> Any:
            asked = response._get_param("InstanceIds", [])
            found = next((one for one in asked if one in inside.checks), None)
            if found is None:
                return statuses(response)
            return _STATUS.format(region=response.region, instance=found, **inside.checks[found])

        def describe_block(response: Any) -> Any:
            mode = inside.blocks.get(response.region)
            return options(response) if mode is None else _BLOCK.format(region=response.region, mode=mode)

        EC2Response.describe_instance_status = describe_instance_status  # pyright: ignore[reportAttributeAccessIssue]
        EC2Response.describe_vpc_block_public_access_options = describe_block  # pyright: ignore[reportAttributeAccessIssue]

    def answer(self, asked: dict[str, Any]) -> Any:
        if "call" in asked:
            found = getattr(self._client(asked["region"]), asked["call"])(**asked["with"])
            found.pop("ResponseMetadata", None)
            return found
        if "listen" in asked:
            self.held.append(socket.create_server(tuple(asked["listen"]), backlog=64))
        elif "deny" in asked:
            self._deny(**asked["deny"])
        elif "checks" in asked:
            one = asked["checks"]
            self.checks[one["instance"]] = {"system": one["system"], "own": one["own"]}
        else:
            self.blocks[asked["block"]["region"]] = asked["block"]["mode"]
        return {}

    def _deny(self, region: str, method: str) -> None:
        from moto.ec2.exceptions import EC2ClientError
        from moto.ec2.responses import EC2Response

        allowed = getattr(EC2Response, method)

        def guarded(response: Any) -> Any:
            if response.region == region:
                raise EC2ClientError("UnauthorizedOperation", "You are not authorized to perform this operation.")
            return allowed(response)

        setattr(EC2Response, method, guarded)

    def _client(self, region: str) -> Any:
        if region not in self.clients:
            import boto3

            session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=region)
            self.clients[region] = session.client("ec2", endpoint_url=self.address)
        return self.clients[region]


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with moto_server() as address:
        inside = _Inside(address)
        inside.record()
        print(json.dumps({"address": address}), flush=True)
        for line in sys.stdin:
            print(json.dumps(inside.answer(json.loads(line)), default=str), flush=True)
        with contextlib.ExitStack() as stack:
            for sock in inside.held:
                stack.callback(sock.close)


if __name__ == "__main__":
    main()
