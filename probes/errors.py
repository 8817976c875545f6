"""The exception tree. Each error says the layer that failed, the cause, and the next step.

::

    QuarterdeckError
    +-- ConfigError            the configuration, all mistakes at once
    +-- CloudError             AWS was asked and did not tell
    +-- LinkError              a host could not be watched; carries the link state it leads to
        +-- ResolveError       the name
        +-- ConnectError       TCP
        +-- HandshakeError     banner, key exchange
        +-- HostKeyError       unknown or changed host key
        +-- AuthError          user, key, passphrase
        +-- AgentError         bootstrap, agent, silence, flood
        +-- LostError          a connection that worked is gone
    +-- AskError               a host that is watched was asked something and did not answer
"""

from __future__ import annotations

from typing import ClassVar

from probes.model import LinkState


class QuarterdeckError(Exception):
    """Base of all errors that quarterdeck raises on purpose.

    Attributes:
        layer: which layer failed, in lower case (``config``, ``resolve``, ``tcp``, ...).
        cause: what was seen, in one line.
        next_step: what a person can do now.
    """

    def __init__(self, cause: str, *, layer: str, next_step: str = "") -> None:
        super().__init__(cause)
        self.layer = layer
        self.cause = cause
        self.next_step = next_step

    def __str__(self) -> str:
        tail = f" ({self.next_step})" if self.next_step else ""
        return f"{self.layer}: {self.cause}{tail}"


class ConfigError(QuarterdeckError):
    """One or more mistakes in the configuration; ``mistakes`` holds one clear line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes), layer="config")
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "\n".join(self.mistakes)


class CloudError(QuarterdeckError):
    """AWS did not tell. ``whole``: no other question can be answered either (credentials, region, network).

    ``lasting``: asking again soon gives the same (a permission that is missing, a boto3 that is too old).
    """

    def __init__(self, cause: str, *, next_step: str, whole: bool = False, lasting: bool = False) -> None:
        super().__init__(cause, layer="aws", next_step=next_step)
        self.whole = whole
        self.lasting = lasting

    @property
    def reason(self) -> str:
        """Cause and next step in one line, as it stands in ``AwsEvidence.unknown``."""
        return f"{self.cause}; {self.next_step}"


class LinkError(QuarterdeckError):
    """A host cannot be watched. ``state`` is the link state it leads to; ``retry`` whether trying again may help."""

    state: ClassVar[LinkState] = LinkState.UNREACHABLE
    #: an error a retry cannot mend by itself is retried rarely (a bad key hammered every second fills auth.log)
    patient: ClassVar[bool] = False


class ResolveError(LinkError):
    """The name does not resolve."""


class ConnectError(LinkError):
    """TCP: refused, filtered, rejected by a firewall, unreachable."""


class HandshakeError(LinkError):
    """The port is open but SSH does not come up: no banner, no key exchange, closed early."""


class HostKeyUnknownError(LinkError):
    """No known_hosts entry; we never connect blindly."""

    state = LinkState.HOST_KEY_UNKNOWN
    patient = True


class HostKeyChangedError(LinkError):
    """The host presents another key than the known one: maybe not your host."""

    state = LinkState.HOST_KEY_CHANGED
    patient = True


class AuthError(LinkError):
    """User, key or passphrase was not accepted."""

    state = LinkState.AUTH_FAILED
    patient = True


class AgentError(LinkError):
    """The connection works, the agent does not: bootstrap, crash, silence, flood."""

    state = LinkState.AGENT_FAILED


class LostError(LinkError):
    """A connection that worked is gone: the host, its sshd, the jump host or the way there."""


class AskError(QuarterdeckError):
    """A request to a running agent has no answer: no live link, refused, lost on the way, or out of time."""
