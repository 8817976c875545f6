"""The JSON and Markdown of a diagnosis, and what changed since the last good state."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from probes.diagnose_markdown import code, escape, markdown, shared_markdown
from probes.diagnose_report import diff, document, fleet_document
from probes.diagnose_text import shared_text
from probes.judge.correlate import Correlation
from probes.judge.diagnosis import LAYERS, Confidence
from probes.judge.triage import diagnose
from probes.model import Service, ServiceKind
from tests.support.evidence import FIVE, FRONTEND, SSH, X, aws, host, opened, reset, silent

ALL_OPEN = tuple(opened(service) for service in FIVE)


def nulls(value, path=""):
    """Every null of a document that its object's ``missing`` does not explain."""
    if isinstance(value, dict):
        for name, item in value.items():
            if item is None and name not in value.get("missing", {}):
                yield f"{path}.{name}"
            yield from nulls(item, f"{path}.{name}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from nulls(item, f"{path}[{at}]")


def test_the_document_has_the_documented_shape() -> None:
    found = document(diagnose(host(opened(SSH), reset(), silent(FRONTEND))))
    assert list(found)[:4] == ["schema_version", "host", "taken_at", "severity"]
    assert found["schema_version"] == 1
    assert found["taken_at"] == "2025-10-09T08:53:20.000Z"
    assert found["severity"]["level"] == "sev2"
    assert tuple(found["layers"]) == LAYERS
    (verdict, silence) = found["verdicts"]
    assert verdict == {
        "row": 18,
        "layer": "tcp",
        "service": "openvoice",
        "outcome": "block",
        "confidence": "high",
        "statement": "no listener on 8001 (openvoice): RST, the host is up",
        "evidence": [
            "8001 (openvoice): RST after 21.0 ms",
            "security group, network ACL, route and address are exonerated: packets arrive and come back",
        ],
        "next_actions": [
            {
                "text": "look at the service openvoice, over SSH",
                "command": f"ssh -p 22 ubuntu@{X} 'systemctl status openvoice; docker ps'",
                "missing": {},
            }
        ],
        "missing": {},
    }
    assert silence["missing"] == {"service": "unsupported", "confidence": "unsupported"}
    assert found["cheapest_discriminator"]["command"] == f"ssh -p 22 ubuntu@{X} 'ss -ltn'"
    assert [one["port"] for one in found["probes"]] == [22, 8001, 55434]
    assert found["probes"][1]["state"] == "refused"


@pytest.mark.parametrize(
    "evidence",
    [
        host(),
        host(*ALL_OPEN),
        host(silent(), aws=aws()),
        host(reset(elapsed_ms=float("nan"))),
        host(opened(), taken_at_wall_s=float("inf")),
    ],
)
def test_every_null_has_its_reason_and_no_number_is_none(evidence) -> None:
    found = document(diagnose(evidence))
    text = msgspec.json.encode(found)
    assert list(nulls(msgspec.json.decode(text))) == []
    assert b"NaN" not in text
    assert b"Infinity" not in text


def test_the_record_in_markdown() -> None:
    text = markdown(diagnose(host(opened(SSH), reset())), ["port 8001 (openvoice): open -> refused"])
    assert text.startswith("# Diagnosis of tokyo-gpu-1\n\nTaken at 2025-10-09T08:53:20.000Z.\n\nSeverity: **sev3**")
    assert "### Row 18: tcp, openvoice (block, high)" in text
    assert (
        f"1. look at the service openvoice, over SSH: `ssh -p 22 ubuntu@{X} 'systemctl status openvoice; docker ps'`"
        in text
    )
    assert "| security_group | pass |" in text
    assert "## Against the last good state\n\n- port 8001 (openvoice): open -\\> refused" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain words, 12.3 ms (really)", "plain words, 12.3 ms (really)"),
        ("# heading", "\\# heading"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("1) item", "1\\) item"),
        ("18.118.69.100 answers", "18.118.69.100 answers"),
        ("a\n\n# b", "a \\# b"),
        ("<script>alert(1)</script>", "\\<script\\>alert(1)\\</script\\>"),
        ("[x](javascript:alert)", "\\[x\\](javascript:alert)"),
        ("a | b", "a \\| b"),
        ("`code`", "\\`code\\`"),
        ("http://evil.example", "http:\\//evil.example"),
    ],
)
def test_text_from_outside_is_no_markup(text, escaped) -> None:
    assert escape(text) == escaped


def test_a_command_cannot_leave_its_code_span() -> None:
    assert code("ls") == "`ls`"
    assert code("a `b` c") == "``a `b` c``"
    assert code("`b`") == "`` `b` ``"
    assert "\n" not in code("a\n```\nb")


def test_hostile_names_stay_in_their_place() -> None:
    evil = Service("x`; rm -rf / #\n# owned | <b>", 8001, ServiceKind.TCP)
    diagnosis = diagnose(host(opened(SSH), reset(evil)))
    text = markdown(diagnosis)
    assert "\n# owned" not in text
    assert "<b>" not in text.replace("\\<b", "")
    # a name with a line break gives no command at all
    assert diagnosis.verdicts[0].next_actions[0].command is None


def test_hostile_names_are_quoted_in_commands() -> None:
    evil = Service("x'; rm -rf / #", 8001, ServiceKind.TCP)
    (verdict,) = diagnose(host(opened(SSH), reset(evil))).verdicts
    # two shells read it, ours and the host's: for both it is one word
    assert verdict.next_actions[0].command == (
        f"ssh -p 22 ubuntu@{X} 'systemctl status '\"'\"'x'\"'\"'\"'\"'\"'\"'\"'\"'; rm -rf / #'\"'\"'; docker ps'"
    )


def test_an_address_that_reads_as_an_option_gives_no_command() -> None:
    diagnosis = diagnose(host(silent(address="-oProxyCommand=x"), address="-oProxyCommand=x", user=None))
    lines = [action.command for one in diagnosis.verdicts for action in one.next_actions]
    assert not any(line and "ProxyCommand" in line for line in lines)


def test_diff_against_the_last_good_state() -> None:
    before, after = diagnose(host(*ALL_OPEN)), diagnose(host(*ALL_OPEN[:-1], reset(FRONTEND)))
    assert diff(before, before) == ()
    assert diff(before, after) == (
        "severity: none -> sev3 (one service: 1 of 5 services fails (frontend))",
        "layer tcp: pass -> block (no listener on 55434 (frontend): RST, the host is up)",
        "port 55434 (frontend): open -> refused",
        "new: row 18: no listener on 55434 (frontend): RST, the host is up",
    )
    assert "gone: row 18: no listener on 55434 (frontend): RST, the host is up" in diff(after, before)
    one_less = diagnose(host(*ALL_OPEN[:-1]))
    assert "port 55434 (frontend): open -> not probed now" in diff(before, one_less)
    assert diff(before, replace(before, host="other")) == ()


def test_what_several_hosts_share_is_said_once_in_every_form() -> None:
    one = Correlation(
        kind="security_group",
        value="sg-1",
        hosts=("a", "b"),
        statement="one root cause for 2 hosts: security group sg-1 blocks each of them (a, b)",
        confidence=Confidence.HIGH,
    )
    both = fleet_document([diagnose(host(silent(), host_id=name)) for name in "ab"], [one])
    assert both["shared"] == [
        {
            "kind": "security_group",
            "value": "sg-1",
            "hosts": ["a", "b"],
            "statement": one.statement,
            "confidence": "high",
        }
    ]
    assert [found["host"] for found in both["diagnoses"]] == ["a", "b"]
    assert shared_text([one]) == f"in common:\n  - {one.statement} [high]\n"
    assert shared_markdown([one]) == f"# In common\n\n- {one.statement} (high)\n"
    assert (shared_text([]), shared_markdown([])) == ("", "")
