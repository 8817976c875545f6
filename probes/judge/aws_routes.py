"""The route table of the subnet: do answers find the way back to us? Pure.

The longest prefix wins, blackholes included; of equal prefixes a static route goes before one of a prefix list, and
that before a propagated one. Through a public address only the internet gateway leads back to us.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.judge.aws_space import Network, Space, cut, listed, merged, network, only_for, source_of
from probes.judge.diagnosis import Outcome
from probes.judge.layer_judgement import Cause, LayerJudgement

if TYPE_CHECKING:
    from probes.cloud.facts import AwsEvidence, RouteEntry, RouteTable
    from probes.judge.aws_space import Source

LAYER: Final = "route"
_PROPAGATED: Final = "EnableVgwRoutePropagation"
#: targets behind which stands somebody's firewall or router: what it does is not in the route table
_APPLIANCES: Final = ("vpce-", "eni-", "i-", "lgw-", "cagw-")
_judgement = partial(LayerJudgement, layer=LAYER)


class _Way(Struct, frozen=True):
    """One prefix of a route and the addresses of ours it decides for."""

    route: RouteEntry
    prefix: Network
    taken: Space


def judge_routes(evidence: AwsEvidence) -> LayerJudgement:
    """Whether the subnet has an active route back to us.

    Args:
        evidence: ``routes`` None makes the answer unknown; ``my_address`` None makes it one per CIDR.
    """
    table = evidence.routes
    if table is None:
        reason = evidence.unknown.get(LAYER) or "the route table was not read"
        return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.FACTS_MISSING, reason=reason)
    source = source_of(evidence)
    ways, lost = decide(table.routes, source.space)
    unread = [route for route in table.routes if network(route.destination) is None and route.prefix_cidrs is None]
    good = [way for way in ways if _leads_back(way.route, private=source.private)]
    rest = [way for way in ways if way not in good]
    if unread and (good or source.address is not None):
        names = listed([f"{route.destination} to {route.target}" for route in unread])
        why = evidence.unknown.get(LAYER) or "allow ec2:GetManagedPrefixListEntries"
        reason = f"{table.table_id} has routes for prefix lists whose entries could not be read ({names}): {why}"
        return _judgement(
            outcome=Outcome.UNKNOWN, cause=Cause.PREFIX_LIST_UNREAD, reason=reason, matched=_named([], unread)
        )
    rivals = _rivals(table.routes, ways, private=source.private)
    if rivals:
        reason = (
            f"{table.table_id} has one prefix in several prefix lists ({listed([_arrow(one) for one in rivals])}): "
            "which of them AWS took is not told; remove one"
        )
        return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.AMBIGUOUS, reason=reason, matched=_named(rivals))
    if good and not rest and not lost:
        return _passes(table, source, good)
    if good:
        return _depends(table, source, good, rest, lost)
    return _blocks(table, source, rest)


def decide(routes: tuple[RouteEntry, ...], space: Space) -> tuple[tuple[_Way, ...], Space]:
    """Which route decides for which addresses of a set, longest prefix first; and those that no route is for."""
    ordered = sorted(
        ((route, prefix) for route in routes for prefix in prefixes_of(route)),
        key=lambda pair: (-pair[1].prefixlen, _rank(pair[0]), pair[0].destination, pair[0].target),
    )
    ways: list[_Way] = []
    left = space
    for route, prefix in ordered:
        taken, left = cut(left, prefix)
        if taken:
            ways.append(_Way(route, prefix, taken))
    return tuple(ways), left


def prefixes_of(route: RouteEntry) -> tuple[Network, ...]:
    """The CIDRs a route is for: one, or the entries of a prefix list (none, if they could not be read)."""
    texts = (route.destination, *(route.prefix_cidrs or ()))
    return tuple(one for one in map(network, texts) if one is not None)


def _rank(route: RouteEntry) -> int:
    if route.prefix_cidrs is not None:
        return 1
    return 2 if route.origin == _PROPAGATED else 0


def _rivals(routes: tuple[RouteEntry, ...], ways: tuple[_Way, ...], *, private: bool) -> list[RouteEntry]:
    """Routes of prefix lists that are equal to one that decides and lead elsewhere: AWS takes any of them."""
    found: list[RouteEntry] = []
    for way in ways:
        if way.route.prefix_cidrs is None:
            continue
        found += [
            other
            for other in routes
            if other.prefix_cidrs is not None
            and way.prefix in prefixes_of(other)
            and _leads_back(other, private=private) != _leads_back(way.route, private=private)
        ]
    return found


def _leads_back(route: RouteEntry, *, private: bool) -> bool:
    if route.state != "active":
        return False
    if private:
        return not route.target.startswith(("igw-", "eigw-"))
    return route.target.startswith("igw-")


def _passes(table: RouteTable, source: Source, good: list[_Way]) -> LayerJudgement:
    ways = listed([_arrow(way.route) for way in good])
    reason = f"{_table_words(table)} leads back to {source.cidr or 'any address'}: {ways}"
    return _judgement(
        outcome=Outcome.PASS, cause=Cause.ALLOWED, reason=reason, matched=_named([way.route for way in good])
    )


def _depends(table: RouteTable, source: Source, good: list[_Way], rest: list[_Way], lost: Space) -> LayerJudgement:
    words, allowed_from, refused_from = only_for(source.space, merged(one for way in good for one in way.taken))
    astray = [f"{_arrow(way.route)} ({way.route.state})" for way in rest]
    astray += [f"no route to {listed(merged(lost))}"] if lost else []
    reason = f"{_table_words(table)} leads back {words} ({listed(astray)}); {source.why}"
    return _judgement(
        outcome=Outcome.UNKNOWN,
        cause=Cause.SOURCE_UNKNOWN,
        reason=reason,
        matched=_named([way.route for way in (*good, *rest)]),
        allowed_from=allowed_from,
        refused_from=refused_from,
    )


def _blocks(table: RouteTable, source: Source, rest: list[_Way]) -> LayerJudgement:
    """No address of ours is led back to; the longest prefix says why (for one address of ours it is the only one)."""
    who = source.cidr or "any address"
    if not rest:
        reason = f"{_table_words(table)} has no route to {who}"
        return _judgement(outcome=Outcome.BLOCK, cause=Cause.NO_ROUTE, reason=reason)
    route = rest[0].route
    matched = _named([way.route for way in rest])
    if route.state != "active":
        reason = f"{_table_words(table)} sends answers to {who} into a blackhole: {_arrow(route)} ({route.state})"
        return _judgement(outcome=Outcome.BLOCK, cause=Cause.BLACKHOLE, reason=reason, matched=matched)
    if not source.private and route.target.startswith(_APPLIANCES):
        reason = (
            f"{_table_words(table)} sends answers to {who} through {_arrow(route)}; what that appliance does with "
            "them is not known: look there"
        )
        return _judgement(outcome=Outcome.UNKNOWN, cause=Cause.APPLIANCE, reason=reason, matched=matched)
    wider = next((one for one in table.routes if _is_wider_gateway(one, rest[0].prefix)), None)
    if wider is not None and not source.private:
        reason = (
            f"{_table_words(table)} sends answers to {who} by {_arrow(route)}, which is more specific than "
            f"{_arrow(wider)}"
        )
        return _judgement(outcome=Outcome.BLOCK, cause=Cause.MORE_SPECIFIC_ROUTE, reason=reason, matched=matched)
    if source.private:
        reason = f"{_table_words(table)} has for {who} only {_arrow(route)}, and private addresses do not pass there"
        return _judgement(outcome=Outcome.BLOCK, cause=Cause.NO_ROUTE, reason=reason, matched=matched)
    reason = f"{_table_words(table)} sends answers to {who} by {_arrow(route)}, not to an internet gateway"
    return _judgement(outcome=Outcome.BLOCK, cause=Cause.NO_INTERNET_GATEWAY, reason=reason, matched=matched)


def _is_wider_gateway(route: RouteEntry, prefix: Network) -> bool:
    """Whether an active route to an internet gateway would have led back, were it not for a longer prefix."""
    return _leads_back(route, private=False) and any(bool(cut((prefix,), one)[0]) for one in prefixes_of(route))


def _table_words(table: RouteTable) -> str:
    return f"{table.table_id} (the main table)" if table.is_main else table.table_id


def _arrow(route: RouteEntry) -> str:
    return f"{route.destination} -> {route.target}"


def _named(routes: list[RouteEntry], more: list[RouteEntry] | None = None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(route.destination for route in (*routes, *(more or ()))))
