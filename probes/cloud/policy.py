"""The least IAM policy, made from the table of operations that the code asks by. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from probes.cloud.operations import OPERATIONS, SSM_SEND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from probes.cloud.operations import Operation

_VERSION: Final = "2012-10-17"
#: SendCommand is held to the one document that runs our script; to which instances is for the reader to narrow
_SEND_TO: Final = ["arn:aws:ssm:*::document/AWS-RunShellScript", "arn:aws:ec2:*:*:instance/*"]


def read_policy() -> dict[str, Any]:
    """What a diagnosis needs: only reads. These actions know no resources, hence the star."""
    return _policy([_statement("QuarterdeckReads", _actions(one for one in OPERATIONS if not one.opt_in), "*")])


def ssm_policy() -> dict[str, Any]:
    """What ``aws.allow_ssm`` needs besides."""
    asked = [one for one in OPERATIONS if one.opt_in == "allow_ssm" and one is not SSM_SEND]
    return _policy([
        _statement("QuarterdeckSystemsManagerReads", _actions(asked), "*"),
        _statement("QuarterdeckSystemsManagerRuns", [SSM_SEND.action], _SEND_TO),
    ])  # fmt: skip


def policy_page() -> str:
    """docs/iam-policy.md."""
    return f"""# IAM policy

<!-- made by `python -m tests.support.generate` from probes/cloud/operations.py; a test holds it equal -->

The least permission with which a diagnosis learns all that it can from AWS. Every action reads; there is no other call
in the code, which a test holds to this list. An action that is denied makes its part *unknown*, with the action's name,
and the rest goes on.

```json
{json.dumps(read_policy(), indent=2)}
```

{_table(one for one in OPERATIONS if not one.opt_in)}

## With `aws.allow_ssm`

Only where `allow_ssm = true` is set in `[aws]`: one fixed script is run by Systems Manager on a host whose SSH is dead.
The script reads; **the permission does not**: whoever has `ssm:SendCommand` with `AWS-RunShellScript` can run anything
as root on the instances it is for. Narrow the second resource to yours, by id or with a condition on tags.

```json
{json.dumps(ssm_policy(), indent=2)}
```

{_table(one for one in OPERATIONS if one.opt_in)}
"""


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": _VERSION, "Statement": statements}


def _statement(sid: str, actions: list[str], resource: str | list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}


def _actions(operations: Iterable[Operation]) -> list[str]:
    return sorted(one.action for one in operations)


def _table(operations: Iterable[Operation]) -> str:
    rows = [f"| `{one.action}` | {one.why} |" for one in sorted(operations, key=lambda one: one.action)]
    return "\n".join(["| action | what it tells |", "|---|---|", *rows])
