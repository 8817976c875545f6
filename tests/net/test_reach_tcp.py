"""Every line of the probe table, seen by the real kernel between real namespaces, for IPv4 and IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.netns import Net
from tests.support.probe_table import LINES, OWN_4, OWN_6, TABLE, icmp_of, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("netns", "nft", "ip", "nsenter")


@pytest.fixture(scope="module")
def results() -> Iterator[dict[tuple[str, int], dict[str, Any]]]:
    with Net() as net:
        prepare(net)
        found = net.probe(3.5, *((line.address, line.port) for line in LINES))
        yield {(result["address"], result["port"]): result for result in found}


@pytest.mark.parametrize("what", TABLE)
def test_probe_table(results: dict[tuple[str, int], dict[str, Any]], what: str) -> None:
    for line in TABLE[what]:
        found = results[line.address, line.port]
        seen = (found["state"], found["errno_name"], icmp_of(found), found["offender"])
        assert seen == (line.state, line.errno_name, line.icmp, line.offender), (line, found)
        assert line.words in found["detail"], (line, found)


def test_only_an_open_port_has_a_connect_time(results: dict[tuple[str, int], dict[str, Any]]) -> None:
    for found in results.values():
        assert (found["connect_ms"] is not None) == (found["state"] == "open"), found
        assert found["elapsed_ms"] > 0


def test_silence_is_called_so_after_three_questions(results: dict[tuple[str, int], dict[str, Any]]) -> None:
    for line in TABLE["drop"] + TABLE["drop of the reply"] + TABLE["drop by a router"]:
        assert results[line.address, line.port]["syns_sent"] >= 3, "one lost packet could fake this silence"


def test_the_offender_is_ours_only_where_it_is(results: dict[tuple[str, int], dict[str, Any]]) -> None:
    for (address, _), found in results.items():
        own = found["offender"] in (OWN_4, OWN_6)
        assert found["offender_is_own"] is own, (address, found)
