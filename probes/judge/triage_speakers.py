"""The layers above TCP: SSH, TLS and HTTP. Not asked is unknown; of no probed service is not applicable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.evidence import KeyCheck, Opening, PortProbe
from probes.judge.diagnosis import LayerState, Outcome
from probes.judge.triage_case import HTTP_KINDS, tls_fine
from probes.judge.triage_words import fact, millis
from probes.model import Health, PortState, ServiceKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.judge.triage_case import Case

_PASS, _UNKNOWN, _NOT = Outcome.PASS, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE
NO_PORTS: Final = LayerState(_UNKNOWN, "no port was probed")


def ssh_layer(case: Case) -> LayerState:
    """SSH passes by its banner and a host key that is on file, or by a session that lives."""
    return _speakers(case, "SSH", lambda port: port.service.kind is ServiceKind.SSH, lambda port: _ssh_end(case, port))


def _ssh_end(case: Case, port: PortProbe) -> LayerState:
    ssh = port.ssh
    if case.live:
        return LayerState(_PASS, "an SSH session to the host lives")
    if ssh is None:
        return LayerState(_UNKNOWN, f"{fact(port)}, SSH was not asked")
    if ssh.opening is not Opening.BANNER:
        return LayerState(_UNKNOWN, f"{fact(port)}, no banner was read ({ssh.opening.value.replace('_', ' ')})")
    if ssh.kex_stalled:
        path = port.path_mtu
        why = "retransmits were not measured" if path is None else f"{path.retransmits} retransmits"
        return LayerState(_UNKNOWN, f"the banner came, the key exchange did not end: sshd hangs or path MTU ({why})")
    if ssh.host_key is KeyCheck.MATCH:
        return LayerState(_PASS, f"banner after {millis(ssh.banner_ms)}, the host key is the one on file")
    known = "is on no file" if ssh.host_key is KeyCheck.UNKNOWN else "was not checked"
    return LayerState(
        _UNKNOWN, f"banner after {millis(ssh.banner_ms)}; the host key {known}, so whose host is not known"
    )


def tls_layer(case: Case) -> LayerState:
    """TLS passes by its handshake; a certificate that was not verified is said to be so."""
    return _speakers(case, "TLS", lambda port: port.service.tls, _tls_end)


def _tls_end(port: PortProbe) -> LayerState:
    tls = port.tls
    if tls is None or not tls_fine(port):
        return LayerState(_UNKNOWN, f"{fact(port)}, TLS was not asked")
    doubt = f", accepted unverified as configured: {tls.verify_error}" if tls.verify_error else ""
    pinned = ", the certificate is the pinned one" if tls.pin is KeyCheck.MATCH else ""
    return LayerState(_PASS, f"{tls.version or 'handshake'} in {millis(tls.took_ms)}{doubt}{pinned}")


def http_layer(case: Case) -> LayerState:
    """HTTP passes by a healthy answer."""
    return _speakers(case, "HTTP", lambda port: port.service.kind in HTTP_KINDS, _http_end)


def _http_end(port: PortProbe) -> LayerState:
    http = port.http
    if http is None:
        return LayerState(_UNKNOWN, f"{fact(port)}, HTTP was not asked")
    if http.health is not Health.OK:
        return LayerState(_UNKNOWN, f"{fact(port)}, health not known: {http.detail or 'no detail'}")
    return LayerState(_PASS, f"{port.service.name}: {http.detail or f'status {http.status}'}")


def _speakers(
    case: Case, what: str, speaks: Callable[[PortProbe], bool], judge: Callable[[PortProbe], LayerState]
) -> LayerState:
    ports = [port for port in case.ports if speaks(port)]
    if not ports:
        return LayerState(_NOT, f"no {what} service among the probed ports") if case.ports else NO_PORTS

    def end(port: PortProbe) -> LayerState:
        if port.state is not PortState.OPEN:
            return LayerState(_UNKNOWN, f"not reached: {fact(port)}")
        return judge(port)

    ends = [end(port) for port in ports]
    return next((one for one in ends if one.outcome is not _PASS), ends[0])
