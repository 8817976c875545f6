"""What went wrong with AWS, as a reason with the next step. No boto3 at import: errors are told apart by name and code.

Messages of AWS and of credential providers are not repeated as they are: those of signatures and credential processes
may hold secrets. A code, and words of our own, say enough.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from probes.errors import CloudError
from probes.text import clean

if TYPE_CHECKING:
    from probes.cloud.operations import Operation

_DENIED: Final = frozenset(
    {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation"}
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_REFUSED: Final = frozenset({
    "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
    "InvalidAccessKeyId", "MissingAuthenticationToken", "IncompleteSignature",
})  # fmt: skip
_THROTTLED: Final = frozenset({
    "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException",
    "RequestThrottled", "SlowDown", "EC2ThrottledException", "BandwidthLimitExceeded",
})  # fmt: skip
#: a code is words joined by dots; anything else did not come from AWS
_CODE: Final = re.compile(r"[A-Za-z0-9_.]{1,64}")


class Asked(Struct, frozen=True):
    """What was asked, for the words of a reason."""

    operation: Operation
    region: str
    profile: str


def is_throttling(code: str) -> bool:
    """Whether an error code of AWS says that we ask too much."""
    return code in _THROTTLED


def cloud_error(error: BaseException, asked: Asked, throttled: str | None = None) -> CloudError:
    """Put an error of boto3 (or of our own limits) into words.

    Args:
        error: what was raised; its class name, and for answers of AWS its code, decide.
        asked: the operation, region and profile it was raised for.
        throttled: the code with which AWS throttled this service meanwhile: then that is why an answer is late.
    """
    if isinstance(error, CloudError):
        return error
    code = _code(error)
    if code is not None:
        return _answered(code, asked)
    if throttled is not None and isinstance(error, TimeoutError):
        cause = f"no answer to {asked.operation.action} within the limit, because AWS throttles ({throttled})"
        return CloudError(cause, next_step="try again in a minute")
    names = [kind.__name__ for kind in type(error).__mro__]
    for name in names:
        told = _CREDENTIALS.get(name)
        if told is not None:
            cause, step = told
            return _whole(cause, step.replace("{profile}", _flag(asked.profile)))
    for name in names:
        told = _OTHER.get(name)
        if told is not None:
            cause, step, whole = told
            words = {"region": asked.region or "the region", "service": asked.operation.service}
            return CloudError(cause.format(**words), next_step=step, whole=whole)
    return _local(error, asked)


def _local(error: BaseException, asked: Asked) -> CloudError:
    """What does not come from the network or the credentials: Python's own, and our limits."""
    action = asked.operation.action
    if isinstance(error, TimeoutError):
        return CloudError(f"no answer to {action} within the limit", next_step="try again, or look at the way to AWS")
    if isinstance(error, ImportError):
        return CloudError("boto3 cannot be imported", next_step="install quarterdeck with boto3", whole=True)
    if isinstance(error, AttributeError):
        return CloudError(f"this boto3 does not know {action}", next_step="upgrade boto3")
    return CloudError(
        f"{action} failed: {clean(type(error).__name__, 64)}", next_step="quarterdeck --log-file has more"
    )


def _answered(code: str, asked: Asked) -> CloudError:
    """AWS answered with an error."""
    action = asked.operation.action
    if code in _DENIED:
        step = f"allow {action} in the IAM policy (docs/iam-policy.md)"
        return CloudError(f"{code} for {action}", next_step=step, lasting=True)
    if code in _EXPIRED:
        return _whole("the AWS session has expired", _login(asked.profile))
    if code in _REFUSED:
        return _whole(f"AWS does not accept the credentials ({code})", _login(asked.profile))
    if code in _THROTTLED:
        return CloudError(f"AWS throttles {action} ({code})", next_step="try again in a minute")
    if code == "OptInRequired":
        return _whole(f"the account has not enabled {asked.region}", "enable the region, or correct the region label")
    return CloudError(f"{action} failed: {code}", next_step="look it up in the EC2 API's list of error codes")


def _code(error: BaseException) -> str | None:
    """The error code of an answer of AWS (``ClientError``); None for every other error."""
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    told: Any = cast("dict[str, Any]", response).get("Error")
    code = str(cast("dict[str, Any]", told).get("Code", "")) if isinstance(told, dict) else ""
    return code if _CODE.fullmatch(code) else "an error without a code"


def error_code(error: BaseException) -> str | None:
    """The error code of an answer of AWS; None for every other error."""
    return _code(error)


def _whole(cause: str, step: str) -> CloudError:
    return CloudError(cause, next_step=step, whole=True)


def _flag(profile: str) -> str:
    return f" --profile {shlex.quote(profile)}" if profile else ""


def _login(profile: str) -> str:
    return f"run: aws sso login{_flag(profile)}"


_SSO: Final = "run: aws sso login{profile}"
#: by class name of botocore's errors: cause and next step; each of them is about all calls
_CREDENTIALS: Final = {
    "NoCredentialsError": ("no AWS credentials", "run: aws sso login{profile}, or set aws.profile"),
    "PartialCredentialsError": (
        "the AWS credentials are incomplete",
        "set both the access key and the secret key, or neither: run: aws configure list{profile}",
    ),
    "SSOTokenLoadError": ("there is no AWS SSO session", _SSO),
    "UnauthorizedSSOTokenError": ("the AWS SSO session has expired", _SSO),
    "TokenRetrievalError": ("the AWS SSO session has expired or cannot be renewed", _SSO),
    "SSOError": ("the AWS SSO session cannot be used", _SSO),
    "LoginError": ("the AWS login session has expired or cannot be used", "run: aws login{profile}"),
    "RefreshWithMFAUnsupportedError": (
        "the credentials need an MFA code to be renewed",
        "renew them with the AWS command line, then try again: run: aws sts get-caller-identity{profile}",
    ),
    "CredentialRetrievalError": (
        "the credential provider failed",
        "run: aws sts get-caller-identity{profile} to see its message",
    ),
    "MetadataRetrievalError": (
        "the instance's metadata service gave no credentials",
        "run: aws sts get-caller-identity{profile}",
    ),
    "ProfileNotFound": ("the AWS profile does not exist", "run: aws configure list-profiles, then set aws.profile"),
    "ConfigParseError": ("the AWS configuration file cannot be parsed", "run: aws configure list{profile}"),
    "InfiniteLoopConfigError": ("the AWS profiles refer to each other in a circle", "correct source_profile"),
    "InvalidConfigError": ("the AWS configuration is not usable", "run: aws configure list{profile}"),
}
#: the same for the rest: cause, next step, and whether it is about all calls to this region
_OTHER: Final = {
    "NoRegionError": ("no AWS region is known", "set aws.region, or the label region of the host", True),
    "InvalidRegionError": ("{region} is not the name of a region", "correct aws.region or the label region", True),
    "UnknownServiceError": ("this boto3 does not know the service {service}", "upgrade boto3", False),
    "ConnectTimeoutError": ("the AWS endpoint of {region} does not answer", "look at the way to AWS", True),
    "ReadTimeoutError": ("AWS in {region} took the question and did not answer in time", "try again", False),
    "SSLError": ("TLS to the AWS endpoint of {region} fails", "look at AWS_CA_BUNDLE and at proxies on the way", True),
    "ProxyConnectionError": ("the proxy on the way to AWS does not answer", "look at HTTPS_PROXY", True),
    "EndpointConnectionError": (
        "the AWS endpoint of {region} cannot be reached",
        "look at the way to AWS, and whether the region exists",
        True,
    ),
    "ConnectionClosedError": ("AWS in {region} closed the connection", "try again", False),
    "HTTPClientError": ("the connection to AWS in {region} failed", "try again", False),
    "ConnectionError": ("the connection to AWS in {region} failed", "try again", False),
    "UnknownEndpointError": ("there is no endpoint of {service} in {region}", "correct the region", False),
    "EndpointProviderError": ("there is no endpoint of {service} in {region}", "correct the region", False),
    "PoolFullError": ("too many questions to AWS hang already", "look at the way to AWS", True),
}  # fmt: skip
