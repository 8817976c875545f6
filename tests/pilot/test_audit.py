from __future__ import annotations

import json
import stat

import pytest
from msgspec.structs import replace

from probes.evidence import Opening, SshProbe
from tests.support import evidence as facts
from tests.support.evidence import FIVE, INSTANCE, SSH, aws, inside, opened
from tests.support.fleets import HOSTILE_ID, FakeBackend
from tests.support.inquiries import NOTHING, TOKYO, WORLD, answering, app_with, fine, named, triaged
from tests.support.screens import HOSTILE, golden, screen_text, screen_widths, until, until_text
from tui.app import QuarterdeckApp

REVOKE = "aws ec2 revoke-security-group-ingress --group-id sg-1 --security-group-rule-ids sgr-"


def exposed():
    """Five ports open to the world and answering, passwords allowed, IMDSv1."""
    ssh = SshProbe(opening=Opening.BANNER, banner="SSH-2.0-OpenSSH_9.6", auth_methods=("publickey", "password"))
    return facts.host(
        opened(SSH, ssh=ssh),
        *(opened(one) for one in FIVE[1:]),
        aws=aws(rules=WORLD, instance=replace(INSTANCE, imds_tokens="optional", imds_hop_limit=2)),
        inside=inside(("0.0.0.0", 22), ("0.0.0.0", 9999), sshd={"permitrootlogin": "yes"}),
    )


async def opened_audit(pilot, *keys):
    screen = await triaged(pilot, *(keys or ("A",)), screen="AuditScreen")
    await until_text(pilot, "finished in")
    return screen


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_it_looks_as_it_should(size) -> None:
    app = app_with(answering(exposed()))
    async with app.run_test(size=size) as pilot:
        await opened_audit(pilot)
        await golden(pilot, f"audit-exposed-{size[0]}x{size[1]}")
        assert screen_widths(app) == {size[0]}


async def test_what_failed_comes_first_the_worst_exposure_at_the_top() -> None:
    app = app_with(answering(exposed()))
    async with app.run_test(size=(160, 60)) as pilot:
        screen = await opened_audit(pilot)
        order = [(line.outcome.value, line.exposure.value if line.exposure else "") for line in screen.lines]
        assert order[0] == ("fail", "high")
        worst = [exposure for outcome, exposure in order if outcome == "fail"]
        assert worst == sorted(worst, key=["critical", "high", "medium", "low"].index)
        assert len(set(worst)) > 1
        assert [outcome for outcome, _ in order] == sorted(
            (outcome for outcome, _ in order), key=["fail", "not_checked", "pass"].index
        )
        assert "secure" not in screen_text(app).casefold()


async def test_an_audit_with_nothing_checked_says_so_and_never_secure() -> None:
    app = app_with(answering(replace(NOTHING, inside_why="no SSH session lives")))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened_audit(pilot)
        text = await until_text(pilot, "nothing was checked")
        assert "this says nothing of security" in text
        assert "secure" not in text.casefold()
        assert "no SSH session lives" in text
        assert "passed" not in text


async def test_not_checked_is_not_said_while_answers_are_awaited() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot, "A", screen="AuditScreen")
        await until(pilot, lambda: bool(backend.investigations), "asked")
        await until_text(pilot, "so far: nothing has arrived")
        backend.investigations[0].arrive(TOKYO, replace(exposed(), inside=None))
        text = await until_text(pilot, "awaited: inside view")
        assert "✖ high" in text
        assert "? not checked" not in text
        backend.investigations[0].answer()
        await until_text(pilot, "? not checked")


async def test_lines_are_filtered_by_outcome_and_by_kind() -> None:
    app = app_with(answering(exposed()))
    async with app.run_test(size=(120, 50)) as pilot:
        screen = await opened_audit(pilot)
        every = len(screen.lines)
        await pilot.press("f")
        await until_text(pilot, "only: failed")
        assert {line.outcome.value for line in screen.lines} == {"fail"}
        await pilot.press("g", "g")
        await until_text(pilot, "only: failed, B2 SSH")
        assert {line.check for line in screen.lines} == {"B2"}
        await pilot.press("f", "g", "g", "y")
        await until_text(pilot, "only: not checked, B4 open and unneeded")
        await pilot.press("escape")
        await until(pilot, lambda: len(screen.lines) == every, "escape shows all again")
        await pilot.press("f", "f", "f", "f", "g", "g", "g", "g", "g", "escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "and then leaves")


async def test_the_command_of_the_selected_line_is_copied(monkeypatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(QuarterdeckApp, "copy_to_clipboard", lambda _self, text: copied.append(text))
    app = app_with(answering(exposed()))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = await opened_audit(pilot)
        await pilot.press("y", "j", "enter")
        assert all(text.startswith(REVOKE) for text in copied)
        assert copied[0] != copied[1]
        await pilot.press(*["j"] * 30, "y")
        await until_text(pilot, "this line has no command to copy")
        await until(pilot, lambda: screen._body.scroll_y > 0, "the selected line is scrolled into view")
        await pilot.press("home", "end", "pageup", "pagedown", *["k"] * 30)
        await until(pilot, lambda: screen._body.scroll_y == 0, "and back")


async def test_hosts_are_stepped_through_and_the_record_is_written(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    app = app_with(answering(exposed(), named(fine(), "b")), names=[TOKYO, "b"])
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened_audit(pilot, "space", "space", "A")
        first = app.screen.host_id
        await pilot.press("n")
        await until_text(pilot, "host 2 of 2")
        assert app.screen.host_id != first
        await pilot.press("w")
        await until_text(pilot, "written:")
    files = sorted((tmp_path / "quarterdeck" / "records").iterdir())
    assert [path.suffix for path in files] == [".json", ".md"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    document = json.loads(files[0].read_text())
    assert document["host"] != first
    assert files[1].read_text().startswith("# Audit of ")


async def test_failing_missing_and_left() -> None:
    backend = FakeBackend()
    backend.investigate_fails = RuntimeError("boom [/b]")
    app = app_with(backend)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await triaged(pilot, "A", screen="AuditScreen")
        await until_text(pilot, "the audit ended: RuntimeError: boom [/b]; r starts it again")
        await until_text(pilot, "nothing was looked at: this says nothing of security")
        await pilot.press("w", "y", "j")
        await until_text(pilot, "nothing to write: there is no evidence of this host")
        backend.investigate_fails = None
        await pilot.press("r")
        await until(pilot, lambda: len(backend.investigations) == 2, "asked again")
        await pilot.press("escape")
        await until(pilot, lambda: backend.investigations[1].ended == "CancelledError", "cancelled")
        await until(pilot, lambda: not app._chores, "no task is left")


async def test_from_the_host_and_by_command_and_without_a_backend() -> None:
    app = app_with(None)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot, "enter", "A", screen="AuditScreen")
        await until_text(pilot, "nothing is being watched")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "back")
        app.run_command(f"audit {TOKYO}")
        await until(pilot, lambda: type(app.screen).__name__ == "AuditScreen", "by command")


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (300, 80)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_text_at_any_size(size, ascii_only) -> None:
    rules = tuple(replace(one, rule_id=HOSTILE[at], group_id=HOSTILE[4]) for at, one in enumerate(WORLD))
    evidence = replace(exposed(), host_id=HOSTILE_ID, address=HOSTILE[1], inside=None, inside_why=HOSTILE[6])
    app = app_with(answering(replace(evidence, aws=aws(rules=rules))), names=[HOSTILE_ID], ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await triaged(pilot, "A", screen="AuditScreen")
        await pilot.pause(0.1)
        for key in ("j", "j", "f", "g", "escape", "end", "home"):
            await pilot.press(key)
            assert screen_widths(app) == {size[0]}
            assert "\x1b" not in screen_text(app)
            assert not ascii_only or screen_text(app).isascii()
        assert not [event for event in app.fleet.events if event.kind == "internal"]
