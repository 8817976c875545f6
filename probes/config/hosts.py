"""The ``[[hosts]]`` and ``[[services]]`` tables, and how they fit together."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from msgspec import Struct, field

from probes.config.aws import Labels
from probes.config.expect import EXPECT, Expect
from probes.config.schema import (
    BAD,
    Choice,
    Flag,
    ListOf,
    MapOf,
    Number,
    Report,
    Table,
    Text,
    join,
    near,
    one_of,
    shown,
)
from probes.inventory.targets import parse_target
from probes.model import Host, Service, ServiceKind

MAX_HOSTS: Final = 20_000
PORT = Number(1, 65535, "a port", whole=True)
_WORD = re.compile(r"[^\s,\-][^\s,]*")
_NAME = Text("a short name without spaces or commas, not starting with -", _WORD, 64)
_ID = Text("a name without spaces or commas, not starting with -", _WORD, 128)
_USER = Text("a user name", re.compile(r"[^\s\-:/][^\s:/]*"), 128)
_FILES = ListOf(Text("a path in quotes", max_len=4096), "a list of paths", 64)

#: what a kind means when nothing else is said: (port, path, expected)
KIND_DEFAULTS: Final[dict[ServiceKind, tuple[int | None, str | None, Expect]]] = {
    ServiceKind.TCP: (None, None, Expect()),
    ServiceKind.SSH: (22, None, Expect()),
    ServiceKind.HTTP: (None, "/", Expect(tuple(range(200, 400)))),
    ServiceKind.VOICEVOX: (50021, "/version", Expect((200,))),
    ServiceKind.OPENVOICE: (8001, "/health", Expect((200,), {"status": ("healthy",)})),
    ServiceKind.OPENAI: (None, "/v1/models", Expect((200,))),
}
HTTP_KINDS: Final = frozenset(kind for kind, (_, path, _) in KIND_DEFAULTS.items() if path)


class ServiceEntry(Struct, frozen=True):
    """One service as written: ``name`` is None if wrong, ``service`` None if anything is."""

    key: str
    name: str | None
    service: Service | None


class NamedService(Struct, frozen=True):
    """A reference to a shared service."""

    key: str
    name: str


class HostEntry(Struct, frozen=True):
    """One host as written, its right fields only, services not yet looked up."""

    key: str
    fields: dict[str, Any]
    services: tuple[ServiceEntry | NamedService, ...] = field(default=())


def _service(kept: dict[str, Any], wrong: set[str], key: str, report: Report) -> ServiceEntry:
    before = len(report.lines)
    kind = ServiceKind(kept.get("kind", "tcp"))
    port, path, expect = KIND_DEFAULTS[kind]
    if not {"port", "kind"} & wrong and "port" not in kept and port is None:
        report.add(join(key, "port"), f"is missing, and kind {kind.value} has no usual one", "1 to 65535")
    if "kind" not in wrong and kind not in HTTP_KINDS:
        for name in ("path", "tls", "tls_verify", "pin", "expect"):
            if name in kept:
                report.add(
                    join(key, name),
                    f"means nothing to kind {kind.value}",
                    f"kind {one_of([k.value for k in KIND_DEFAULTS if k in HTTP_KINDS])}",
                )
    elif not kept.get("tls", False) and "tls" not in wrong:
        for name in ("tls_verify", "pin"):
            if name in kept:
                report.add(join(key, name), "means nothing without TLS", "tls = true beside it")
    if wrong or len(report.lines) > before:
        return ServiceEntry(key, kept.get("name"), None)
    given = kept.get("expect", Expect())
    # another path than the kind's own (behind any prefix) answers with other fields
    own_path = path is not None and kept.get("path", path).partition("?")[0].endswith(path)
    service = Service(
        name=kept["name"],
        port=kept.get("port", port),
        kind=kind,
        path=kept.get("path", path),
        tls=kept.get("tls", False),
        tls_verify=kept.get("tls_verify", True),
        expect_status=given.status or expect.status,
        expect_json=given.json or (expect.json if own_path else {}),
        pin=kept.get("pin"),
    )
    return ServiceEntry(key, service.name, service)


class _Pin:
    """A certificate's SHA-256 fingerprint as a diagnosis shows it or as ``openssl x509 -fingerprint -sha256`` does."""

    expected = "the SHA-256 fingerprint of a certificate: 64 hexadecimal digits, with or without SHA256: and colons"

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``; the digits are kept in one form."""
        text = Text(self.expected).check(value, key, report)
        if text is BAD:
            return BAD
        digits = text.lower().removeprefix("sha256:").replace(":", "")
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            report.add(key, f"{shown(text)} is no fingerprint", self.expected)
            return BAD
        return f"SHA256:{digits}"


_SERVICE = Table(
    {
        "name": _NAME,
        "port": PORT,
        "kind": Choice(tuple(kind.value for kind in ServiceKind)),
        "path": Text("a path that starts with /", re.compile(r"/[!-~]*"), 2048),
        "tls": Flag(),
        "tls_verify": Flag(),
        "pin": _Pin(),
        "expect": EXPECT,
    },
    required=("name",),
    finish=_service,
    what="a table with name and port",
)


class _ServiceRef:
    """The name of a shared service, or a whole one for this host alone."""

    def check(self, value: Any, key: str, report: Report) -> Any:
        if isinstance(value, str):
            name = _NAME.check(value, key, report)
            return BAD if name is BAD else NamedService(key, name)
        if isinstance(value, dict):
            return _SERVICE.check(cast("dict[str, Any]", value), key, report)
        report.add(key, f"{shown(value)} is not a service", "the name of a service or a table with name and port")
        return BAD


class _Address:
    """A name, an ssh_config alias or an IP address; brackets around IPv6 are dropped."""

    _text = Text("a host name, an ssh_config alias or an IP address", max_len=255)

    def check(self, value: Any, key: str, report: Report) -> Any:
        text = self._text.check(value, key, report)
        if text is BAD:
            return BAD
        try:
            target = parse_target(text)
        except ValueError:
            report.add(key, f"{shown(text)} is not an address", self._text.expected)
            return BAD
        if target.user or target.port:
            part = "user" if target.user else "port"
            report.add(key, f"{shown(text)} carries a {part}", f"the address alone, and the {part} as {part} = ...")
            return BAD
        return target.address


class _Jump:
    """``[user@]host[:port]``, several separated by commas, as ssh's ProxyJump."""

    _text = Text("[user@]host[:port]", max_len=1024)

    def check(self, value: Any, key: str, report: Report) -> Any:
        text = self._text.check(value, key, report)
        if text is BAD:
            return BAD
        for hop in text.split(","):
            try:
                parse_target(hop.strip())
            except ValueError as error:
                report.add(key, f"{shown(hop)}: {error}", "[user@]host[:port], several separated by commas")
                return BAD
        return text


_NO_SSH: Final = ("port", "user", "identity_files", "known_hosts", "proxy_jump")


def _host(kept: dict[str, Any], wrong: set[str], key: str, report: Report) -> HostEntry:
    services = kept.pop("services", ())
    if kept.get("local"):
        for name in _NO_SSH:
            if name in kept:
                report.add(join(key, name), "means nothing to a local host", "no SSH options beside local = true")
        kept.setdefault("address", "localhost")
    elif "address" not in kept and "address" not in wrong and "id" in kept:
        try:
            kept["address"] = parse_target(kept["id"]).address
        except ValueError:
            report.add(join(key, "address"), "is missing, and the id is none", "a host name, alias or IP address")
    return HostEntry(key, kept, services)


_HOST = Table(
    {
        "id": _ID,
        "address": _Address(),
        "port": PORT,
        "user": _USER,
        "groups": ListOf(_NAME, "a list of group names", 64),
        "labels": Labels(MapOf(Text(empty=True), "label names with their values", _NAME)),
        "services": ListOf(_ServiceRef(), "a list of service names or tables"),
        "identity_files": _FILES,
        "known_hosts": _FILES,
        "proxy_jump": _Jump(),
        "local": Flag(),
    },
    required=("id",),
    finish=_host,
    what="a table with an id",
)

HOSTS = ListOf(_HOST, "a list of [[hosts]] tables", MAX_HOSTS)
SERVICES = ListOf(_SERVICE, "a list of [[services]] tables", 1024)


def join_services(
    entries: tuple[HostEntry, ...], shared: tuple[ServiceEntry, ...] | None, report: Report
) -> list[Host]:
    """Check what spans hosts and services, and build the hosts; only right ones are in the result.

    Args:
        entries: the hosts as written.
        shared: the shared services; None when their whole list was wrong, so that no name can be judged.
        report: takes the mistakes.
    """
    _check_unique([(entry.key, "id", entry.fields.get("id")) for entry in entries], report)
    _check_unique([(entry.key, "name", entry.name) for entry in shared or ()], report)
    _check_groups(entries, report)
    _check_jumps(entries, report)
    known = {entry.name: entry.service for entry in shared or () if entry.name}
    hosts: list[Host] = []
    for entry in entries:
        services = _services_of(entry, known if shared is not None else None, report)
        if not report.lines:
            hosts.append(Host(**entry.fields, services=services))
    return hosts


def _check_unique(names: list[tuple[str, str, str | None]], report: Report) -> None:
    first: dict[str, str] = {}
    for key, what, name in names:
        if name is None:
            continue
        if name in first:
            report.add(join(key, what), f'"{name}" is already the {what} of {first[name]}', f"each {what} once")
        else:
            first[name] = key


def _check_groups(entries: tuple[HostEntry, ...], report: Report) -> None:
    ids = {entry.fields["id"] for entry in entries if "id" in entry.fields}
    for entry in entries:
        for at, group in enumerate(entry.fields.get("groups", ())):
            if group in ids:
                report.add(f"{entry.key}.groups[{at}]", f'"{group}" is also the id of a host', "a name of its own")


def _check_jumps(entries: tuple[HostEntry, ...], report: Report) -> None:
    """No host may be reached through itself, not even by way of others."""
    jumps: dict[str, list[str]] = {}
    for entry in entries:
        fields = entry.fields
        if "id" in fields and fields.get("proxy_jump", "none") != "none":
            jumps[fields["id"]] = [parse_target(hop.strip()).address for hop in fields["proxy_jump"].split(",")]
    for entry in entries:
        host_id = entry.fields.get("id")
        if host_id not in jumps:
            continue
        hops, seen = list(jumps[host_id]), set[str]()
        while hops:
            hop = hops.pop()
            if hop == host_id:
                through = "itself" if hop in jumps[host_id] else "hosts that need it in turn"
                report.add(f"{entry.key}.proxy_jump", f'"{host_id}" would be reached through {through}', "another host")
                break
            if hop not in seen:
                seen.add(hop)
                hops.extend(jumps.get(hop, ()))


def _services_of(entry: HostEntry, known: dict[str, Service | None] | None, report: Report) -> tuple[Service, ...]:
    services: list[Service] = []
    first: dict[str, str] = {}
    for item in entry.services:
        if item.name is None:
            continue
        if item.name in first:
            report.add(item.key, f'service "{item.name}" is already {first[item.name]}', "each service once a host")
            continue
        first[item.name] = item.key
        if isinstance(item, ServiceEntry):
            service = item.service
        elif known is None:
            continue
        elif item.name not in known:
            expected = f"one of {', '.join(known)}" if 0 < len(known) <= 12 else "the name of a [[services]] table"
            report.add(item.key, f'no service is called "{item.name}"{near(item.name, list(known))}', expected)
            continue
        else:
            service = known[item.name]
        if service is not None:
            services.append(service)
    return tuple(services)
