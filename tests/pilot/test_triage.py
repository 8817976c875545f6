from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from probes.evidence import HttpProbe, KeyCheck, Names, Opening, SshProbe, TlsProbe
from probes.judge.diagnosis import LAYERS
from probes.model import Health, PortState, ServiceKind
from tests.support import evidence as facts
from tests.support.evidence import BACKEND, CONTROL, FIVE, NO_ECHO, SSH, X, aws, icmp, opened, reset
from tests.support.fleets import HOSTILE_ID, FakeBackend
from tests.support.inquiries import (
    ALL_SILENT,
    NOTHING,
    OHIO,
    TOKYO,
    answering,
    app_with,
    cannot_tell,
    fine,
    incident,
    named,
    three_of_which_two_share_a_group,
    triaged,
)
from tests.support.screens import HOSTILE, NOW_S, golden, screen_text, screen_widths, until, until_text
from tui import commands
from tui.app import QuarterdeckApp
from tui.widgets.ladder import LAYER_WORDS

if TYPE_CHECKING:
    from textual.pilot import Pilot

START = "aws ec2 start-instances --instance-ids i-0aaa --region ap-northeast-1"
DESCRIBE = f"aws ec2 describe-addresses --public-ips {X}"


@pytest.fixture
def copied(monkeypatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(QuarterdeckApp, "copy_to_clipboard", lambda _self, text: found.append(text))
    return found


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "quarterdeck" / "records"


def ladder(app: QuarterdeckApp) -> dict[str, str]:
    """The word of each layer as it stands on the screen."""
    words: dict[str, str] = {}
    for line in screen_text(app).splitlines():
        for name in LAYERS:
            start = f"{LAYER_WORDS[name]:<14} "
            if line[3:].startswith(start):
                words[name] = line[3 + len(start) :].split()[0]
    return words


def internal(app: QuarterdeckApp) -> list[str]:
    return [event.text for event in app.fleet.events if event.kind == "internal"]


# --- looks ---


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
@pytest.mark.parametrize(("name", "evidence"), [("incident", incident), ("cannot-tell", cannot_tell), ("fine", fine)])
async def test_it_looks_as_it_should(name, evidence, size) -> None:
    app = app_with(answering(evidence()))
    async with app.run_test(size=size) as pilot:
        await triaged(pilot)
        await until_text(pilot, "finished in")
        await golden(pilot, f"triage-{name}-{size[0]}x{size[1]}")
        assert screen_widths(app) == {size[0]}
        assert internal(app) == []


@pytest.mark.parametrize("pane", ["verdicts", "evidence", "causes", "recovery", "diff"])
async def test_every_pane_looks_as_it_should_on_a_small_screen(pane) -> None:
    app = app_with(answering(incident()))
    async with app.run_test(size=(80, 24)) as pilot:
        await triaged(pilot)
        await until_text(pilot, "finished in")
        for _ in range(1 + ["verdicts", "evidence", "causes", "recovery", "diff"].index(pane)):
            await pilot.press("tab")
        await until_text(pilot, f"{pane}]")
        await golden(pilot, f"triage-{pane}-80x24")


async def test_ascii_signs() -> None:
    app = app_with(answering(incident()), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot)
        await until_text(pilot, "finished in")
        await golden(pilot, "triage-incident-120x40-ascii")
        assert screen_text(app).isascii()


# --- evidence arrives ---


async def test_the_ladder_lights_up_part_by_part() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    now = [NOW_S]
    app.boot_s = lambda: now[0]
    async with app.run_test(size=(160, 50)) as pilot:
        await triaged(pilot)
        await until(pilot, lambda: len(backend.investigations) == 1, "asked")
        assert backend.calls == [("investigate", (TOKYO,), True)]
        (asked,) = backend.investigations
        await until_text(pilot, "awaited: ports, names, echo, controls, AWS, inside view")
        assert set(ladder(app).values()) == {"gathering"}
        assert "NOTHING DECIDED YET" in screen_text(app)

        now[0] += 1.2
        asked.arrive(TOKYO, so_far := replace(NOTHING, names=OHIO, controls=(CONTROL,), echo=NO_ECHO))
        text = await until_text(pilot, "awaited: ports, AWS, inside view")
        await until_text(pilot, "GATHERING 1.2s")
        words = ladder(app)
        assert words["egress"] == "pass"
        assert words["address"] == "BLOCK", "the reverse name is of another region"
        assert words["tcp"] == words["instance"] == "gathering"
        assert "SO FAR: BLOCKED" in text
        assert "SEV" not in text, "severity needs all ports"

        asked.arrive(TOKYO, so_far := replace(so_far, ports=ALL_SILENT[:2]))
        await until_text(pilot, "awaited: 3 of 5 ports")
        asked.arrive(TOKYO, so_far := replace(so_far, ports=ALL_SILENT))
        await until(pilot, lambda: ladder(app)["tcp"] == "unknown", "the ports are all there")
        assert ladder(app)["instance"] == "gathering"

        asked.arrive(TOKYO, so_far := replace(so_far, aws=incident().aws))
        await until(pilot, lambda: ladder(app)["instance"] == "BLOCK", "AWS says it is stopped")
        assert ladder(app)["address"] == "pass", "AWS says the address is ours"
        text = screen_text(app)
        assert "finished" not in text
        assert "SO FAR: BLOCKED" in text

        asked.arrive(TOKYO, replace(so_far, inside_why="no SSH session lives"))
        await until_text(pilot, "awaited: the last answers")
        now[0] += 2.3
        asked.answer()
        text = await until_text(pilot, "finished in 3.5s")
        assert " BLOCKED  SEV1 certain instance: stopped: i-0aaa is stopped" in text
        assert "gathering" not in text
        assert internal(app) == []


async def test_cannot_tell_is_not_said_while_something_may_still_tell() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot)
        await until(pilot, lambda: bool(backend.investigations), "asked")
        backend.investigations[0].arrive(TOKYO, cannot_tell())
        text = await until_text(pilot, "awaited: AWS")
        assert "CANNOT TELL" not in text
        assert "cannot tell" not in text
        backend.investigations[0].answer()
        text = await until_text(pilot, "CANNOT TELL SEV1 Silent drop. Ruled out: your egress (control fine)")
        assert f"next $ {DESCRIBE}" in text
        assert "row 29" in text


# --- what it says ---


async def test_the_incident() -> None:
    app = app_with(answering(incident()))
    async with app.run_test(size=(200, 50)) as pilot:
        await triaged(pilot)
        text = await until_text(pilot, "finished in")
        lines = text.splitlines()
        assert lines[1].startswith(" BLOCKED  SEV1 certain instance: stopped: i-0aaa is stopped")
        assert lines[2] == f" next 1/2 $ {START}"
        for port in (22, 55433, 8001, 50021, 55434):
            assert f"f {port:>5} " in text
        for words in ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com", "us-east-2 by the reverse name",
                      "configured is", "hops: 1 192.168.1.1  2 no answer  3 100.64.0.9",
                      "hops to 55433, 8001, 50021, 55434: only the first silent",
                      "sg-1 allows tcp 55433 from 0.0.0.0/0", "no reply; that alone never means down",
                      "score = success x (1 - risk) / time_min", "everything dead: 5 of 5 services fail"):  # fmt: skip
            assert " ".join(words.split()) in " ".join(text.split()) or words in text, words


async def test_a_refused_port_exonerates_what_lies_before_it() -> None:
    ports = (opened(SSH), reset(BACKEND), *(opened(one) for one in FIVE[2:]))
    app = app_with(answering(facts.host(*ports)))
    async with app.run_test(size=(160, 60)) as pilot:
        await triaged(pilot)
        text = await until_text(pilot, "finished in")
        assert " BLOCKED  SEV3" in text
        assert "row 18" in text
        assert {ladder(app)[name] for name in ("egress", "address", "security_group", "nacl", "route")} == {"pass"}
        await pilot.press("2")
        await until_text(pilot, "r 55433 backend      refused")


async def test_a_rejecting_host_firewall_is_named_with_its_sender() -> None:
    ports = (opened(SSH), icmp(13, X, BACKEND))
    app = app_with(answering(facts.host(*ports)))
    async with app.run_test(size=(160, 60)) as pilot:
        await triaged(pilot)
        await until_text(pilot, "finished in")
        assert "row 19" in screen_text(app)
        assert ladder(app)["host_firewall"] == "BLOCK"
        await pilot.press("2")
        await until_text(pilot, f"ICMP 3/13 from {X}")


async def test_what_hosts_share_is_said_once_and_every_host_is_a_key_away() -> None:
    answers = three_of_which_two_share_a_group()
    app = app_with(answering(*answers.values()), names=answers)
    async with app.run_test(size=(160, 60)) as pilot:
        await triaged(pilot, "space", "space", "space", "t")
        text = await until_text(pilot, "finished in")
        assert "host 1 of 3" in text
        assert text.count("one root cause for 2 hosts: security group sg-1 blocks each of them (a-1, b-2)") == 1
        assert "[✖ a-1] ✖ b-2  ● c-3" in text
        await pilot.press("n", "n")
        text = await until_text(pilot, "host 3 of 3")
        assert "NOTHING BLOCKS 5 of 5 services work" in text
        assert text.count("one root cause") == 1
        await pilot.press("N")
        await until_text(pilot, "host 2 of 3")
        await pilot.press("n", "n")
        await until_text(pilot, "host 1 of 3")


@pytest.mark.parametrize("state", [PortState.UNREACHABLE, PortState.UNRESOLVED, PortState.NOT_PROBED, PortState.OPEN])
async def test_services_and_names_in_words(state) -> None:
    ssh = SshProbe(opening=Opening.BANNER, banner="SSH-2.0-x [/b]", host_key=KeyCheck.CHANGED, fingerprint="SHA256:abc",
                   kex_stalled=True, auth_methods=("publickey", "password"))  # fmt: skip
    tls = TlsProbe(ok=True, version="TLSv1.3", subject="CN=x", verify_error="self-signed", not_after="2027-01-01")
    http = HttpProbe(health=Health.FAILING, status=503, phases_ms={"dns": 1.0, "tcp": 2.0}, first_line="<h1>[/x]</h1>")
    ports = (
        opened(SSH, ssh=ssh, state=state),
        opened(BACKEND, tls=tls, http=http, opening=Opening.CLOSED, via="jump"),
    )
    names = Names(name="gpu.example.com", error="no such name", ptr_why="not asked")
    app = app_with(answering(facts.host(*ports, names=names, aws=aws(instance=None, unknown={"instance": "denied"}))))
    async with app.run_test(size=(160, 60)) as pilot:
        await triaged(pilot)
        await until_text(pilot, "finished in")
        await pilot.press("2")
        text = await until_text(pilot, "host key SHA256:abc IS NOT THE ONE ON FILE")
        for words in ("SSH-2.0-x [/b]", "the key exchange did not finish", "offers: publickey, password", "via jump",
                      "TLS TLSv1.3 CN=x, certificate: self-signed", "open, then closed without a byte",
                      "says: <h1>[/x]</h1>", "503", "gpu.example.com: no such name", "unknown: denied"):  # fmt: skip
            assert words in text, words
        assert internal(app) == []


# --- keys ---


async def test_commands_are_selected_and_copied_whole(copied) -> None:
    answers = three_of_which_two_share_a_group()
    app = app_with(answering(answers["a-1"]), names=["a-1"])
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await triaged(pilot)
        await until_text(pilot, "next 1/")
        await pilot.press("enter")
        assert copied[-1].startswith("aws ec2 authorize-security-group-ingress --group-id sg-1 --region ap-northeast-1")
        assert copied[-1].endswith("IpRanges=[{CidrIp=203.0.113.7/32}]'")
        await pilot.press("j")
        await until_text(pilot, "next 2/")
        await pilot.press("y")
        assert copied[-1] != copied[0]
        await pilot.press("k", "k", "y")
        assert copied[-1] == copied[0]
        await pilot.press("1", *["j"] * 20, "y")
        assert copied[-1].startswith("aws ")
        selected = app.screen._pane.selected_rows
        await until(pilot, lambda: app.screen._body.scroll_y > 0, "the selected command is scrolled into view")
        assert selected is not None
        await pilot.press("4")
        await until_text(pilot, "4 recovery]")
        await pilot.press("y", "Y")
        assert "security group" in copied[-1]


async def test_nothing_to_copy_is_said() -> None:
    app = app_with(answering(fine()))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await triaged(pilot)
        await until_text(pilot, "NOTHING BLOCKS")
        await pilot.press("y", "j", "Y")
        await until_text(pilot, "there is no command to copy")
        await until_text(pilot, "there is no verdict to copy")


async def test_probing_again_and_what_changed() -> None:
    backend = answering(fine())
    app = app_with(backend)
    async with app.run_test(size=(160, 50)) as pilot:
        await triaged(pilot)
        await until_text(pilot, "NOTHING BLOCKS")
        await pilot.press("d")
        await until_text(pilot, "none in this session: no triage of this host has ended with everything working")
        backend.answers = {TOKYO: incident()}
        await pilot.press("r")
        await until_text(pilot, "BLOCKED")
        text = await until_text(pilot, "layer instance: pass -> block")
        assert text.count("port 22 (ssh): open -> filtered") == 2, "against the good state and the probe before"
        await pilot.press("r")
        text = await until_text(pilot, "nothing changed")
        assert text.count("port 22 (ssh): open -> filtered") == 1, "the last good state is kept"
        await pilot.press("escape", "t", "d")
        text = await until_text(pilot, "finished in")
        assert text.count("port 22 (ssh): open -> filtered") == 1, "and is there when the screen is opened anew"


async def test_the_record_is_written_for_its_owner_alone(state) -> None:
    answers = three_of_which_two_share_a_group()
    app = app_with(answering(*answers.values()), names=answers)
    async with app.run_test(size=(160, 50), notifications=True) as pilot:
        await triaged(pilot, "space", "space", "t")
        await until_text(pilot, "finished in")
        await pilot.press("w")
        await until_text(pilot, "written:")
        await pilot.press("w")
        await until(pilot, lambda: len(list(state.glob("*.md"))) == 2, "a second one beside the first")
    names = sorted(path.name for path in state.iterdir())
    assert names == ["triage-a-1-20231114T221320Z-2.json", "triage-a-1-20231114T221320Z-2.md",
                     "triage-a-1-20231114T221320Z.json", "triage-a-1-20231114T221320Z.md"]  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}
    document = json.loads((state / names[2]).read_text())
    assert document["host"] == "a-1"
    assert any("one root cause for 2 hosts" in note for note in document["notes"])
    assert (state / names[3]).read_text().startswith("# Diagnosis of a-1")


async def test_a_record_of_what_is_not_finished_is_not_written(state) -> None:
    app = app_with(FakeBackend())
    async with app.run_test(size=(160, 50), notifications=True) as pilot:
        await triaged(pilot)
        await pilot.press("w")
        await until_text(pilot, "nothing to write: answers are still awaited")
        await pilot.press("y", "Y", "j")
        await until_text(pilot, "there is no verdict to copy yet")
    assert not state.exists()


async def test_a_record_at_a_given_path_never_over_another_file(tmp_path) -> None:
    app = app_with(answering(incident()))
    async with app.run_test(size=(160, 50), notifications=True) as pilot:
        await triaged(pilot)
        await until_text(pilot, "finished in")
        app.run_command(f"record {tmp_path}/inc.json")
        await until_text(pilot, "written:")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["inc.json", "inc.md"]
        app.run_command(f"record {tmp_path}/inc")
        await until_text(pilot, "not written:")
        await pilot.press("escape")
        app.run_command("record")
        await until_text(pilot, "there is no diagnosis or audit on the screen")


# --- the task ---


async def test_leaving_cancels_and_leaves_no_task() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot)
        await until(pilot, lambda: bool(backend.investigations), "asked")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "left")
        await until(pilot, lambda: backend.investigations[0].ended == "CancelledError", "cancelled")
        await until(pilot, lambda: not app._chores, "no task is left")
        assert internal(app) == []


async def test_probing_again_cancels_what_runs_and_late_parts_change_nothing() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await triaged(pilot)
        await until(pilot, lambda: bool(backend.investigations), "asked")
        await pilot.press("r")
        await until(pilot, lambda: len(backend.investigations) == 2, "asked again")
        first, second = backend.investigations
        await until(pilot, lambda: first.ended == "CancelledError", "the first is cancelled")
        first.arrive(TOKYO, incident())
        assert screen.inquiry.evidence == {}
        second.arrive(TOKYO, fine())
        second.answer()
        await until_text(pilot, "NOTHING BLOCKS")
        assert len(app._chores) == 0


async def test_an_investigation_that_fails_says_so_and_can_be_repeated() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    async with app.run_test(size=(160, 40)) as pilot:
        await triaged(pilot)
        await until(pilot, lambda: bool(backend.investigations), "asked")
        backend.investigations[0].arrive(TOKYO, replace(NOTHING, controls=(CONTROL,)))
        backend.investigations[0].fail(RuntimeError("boom [/b]"))
        text = await until_text(pilot, "NOT FINISHED")
        assert "CANNOT TELL the investigation ended: RuntimeError: boom [/b]; r starts it again" in text
        assert any("boom" in line for line in internal(app))
        backend.answers = {TOKYO: incident()}
        await pilot.press("r")
        await until_text(pilot, " BLOCKED  SEV1")


async def test_an_answer_without_the_host_is_not_taken_for_a_good_one() -> None:
    backend = FakeBackend()
    app = app_with(backend)
    async with app.run_test(size=(160, 40)) as pilot:
        await triaged(pilot)
        await until(pilot, lambda: bool(backend.investigations), "asked")
        backend.investigations[0].answer()
        text = await until_text(pilot, "CANNOT TELL no evidence came for this host; r asks again")
        assert "pass" not in ladder(app).values()
        assert "gathering" not in text, "nothing is gathered any more"


async def test_without_a_backend_it_says_that_nothing_is_watched() -> None:
    app = app_with(None)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot)
        text = await until_text(pilot, "CANNOT TELL")
        assert "nothing is being watched" in text
        await pilot.press("tab", "r", "d", "escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "left")


async def test_a_host_that_left_the_configuration() -> None:
    app = app_with(answering(incident(), named(fine(), "b")), names=[TOKYO, "b"])
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot, "space", "space", "t")
        await until_text(pilot, "finished in")
        app.fleet.set_hosts([app.fleet.hosts["b"].host])
        await pilot.press("r")
        await until_text(pilot, f"no longer configured: {TOKYO}")


# --- ways in ---


async def test_from_the_host_and_the_matrix_and_by_command(copied) -> None:
    backend = answering(incident(), named(fine(), "b"), named(fine(), "[/c] d"))
    app = app_with(backend, names=[TOKYO, "b", "[/c] d"])
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot, "enter", "t")
        await until_text(pilot, "finished in")
        await pilot.press("escape")
        await until(pilot, lambda: type(app.screen).__name__ == "HostScreen", "back on the host")
        await pilot.press("escape")
        await triaged(pilot, "m", "up", "t")
        await until_text(pilot, "finished in")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "back")
        app.run_command(f"triage b {TOKYO}")
        await until(pilot, lambda: app.screen is not app.fleet_screen, "by command")
        await until_text(pilot, "host 1 of 2")
        await until_text(pilot, "finished in")
        first = app.screen
        app.run_command("triage [/c] d")
        await until(pilot, lambda: app.screen is not first, "the one takes the place of the other")
        assert len(app.screen_stack) == 2
        await until_text(pilot, "finished in")
        asked = [call[1] for call in backend.calls if call[0] == "investigate"]
        assert [len(hosts) for hosts in asked] == [1, 1, 2, 1]
        assert asked[2:] == [("b", TOKYO), ("[/c] d",)]
        assert asked[:2] == [("[/c] d",), ("b",)], "the matrix asks about the host of its row"
        app.run_command("triage nobody")
        await until_text(pilot, "no host 'nobody'")


# --- sizes and hostile text ---


def hostile(name: str) -> Any:
    ssh = SshProbe(opening=Opening.BANNER, banner=HOSTILE[3] + "\x1b[31m" + HOSTILE[6], detail=HOSTILE[5])
    http = HttpProbe(health=Health.FAILING, status=500, detail=HOSTILE[1], first_line=HOSTILE[0] + HOSTILE[7] + "\r\n")
    names = Names(name=HOSTILE[1], ptr={HOSTILE[4]: (HOSTILE[0], HOSTILE[8])}, ptr_region={HOSTILE[6]: HOSTILE[3]})
    services = [replace(one, name=HOSTILE[at] or "x") for at, one in enumerate(FIVE)]
    ports = (
        opened(replace(services[0], kind=ServiceKind.SSH), ssh=ssh),
        opened(services[1], http=http),
        icmp(13, HOSTILE[4], services[2], detail=HOSTILE[5] * 9),
        reset(services[3], detail=HOSTILE[8]),
    )
    return replace(facts.host(*ports, names=names, aws=aws(unknown={HOSTILE[1]: HOSTILE[0]})), host_id=name,
                   address=HOSTILE[4], notes=HOSTILE, inside_why=HOSTILE[7])  # fmt: skip


@pytest.mark.parametrize("size", [(20, 5), (39, 9), (40, 10), (80, 24), (90, 45), (120, 40), (200, 50), (300, 80)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_text_at_any_size(size, ascii_only, copied) -> None:
    app = app_with(answering(hostile(HOSTILE_ID), hostile("[/x]")), names=[HOSTILE_ID, "[/x]"], ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await triaged(pilot, "space", "space", "t")
        await pilot.pause(0.1)
        keys = (
            "0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "n",
            "1",
            "j",
            "j",
            "pagedown",
            "end",
            "home",
            "y",
            "Y",
            "tab",
            "shift+tab",
        )
        for key in keys:
            await pilot.press(key)
            assert screen_widths(app) == {size[0]}
            text = screen_text(app)
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert not ascii_only or text.isascii()
        assert internal(app) == []
        if size[0] < 40 or size[1] < 10:
            assert "too small" in screen_text(app)


@pytest.mark.parametrize("theme", ["dark", "light", "colour-blind", "mono"])
async def test_the_selected_command_is_seen_in_every_theme(theme) -> None:
    app = app_with(answering(incident()))
    async with app.run_test(size=(120, 40)) as pilot:
        app.theme = theme
        await triaged(pilot)
        await until_text(pilot, "finished in")
        strips = app.screen._compositor.render_strips()
        (line,) = [strip for strip in strips if "▸ $ aws ec2 start-instances" in strip.text]
        (style,) = {segment.style for segment in line if segment.text.startswith("aws ec2 start")}
        cursor = app.palette.cursor
        assert style is not None
        assert theme == "mono" or style.bgcolor == cursor.bgcolor
        assert style.reverse == cursor.reverse


async def test_resizing_keeps_the_pane() -> None:
    app = app_with(answering(incident()))
    async with app.run_test(size=(80, 24)) as pilot:
        await triaged(pilot)
        await until_text(pilot, "0 layers]")
        await pilot.press("3")
        for size in ((80, 24), (120, 40), (200, 50), (90, 45)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda size=size: screen_widths(app) == {size[0]}, "drawn")
            await until_text(pilot, "[3 causes]")
        await pilot.press("0")
        await until_text(pilot, "[1 verdicts]")
        await shown(pilot)


async def shown(pilot: Pilot[Any]) -> None:
    """The layers stand above the pane where there is no room beside it."""
    text = await until_text(pilot, "layers in packet order")
    assert text.index("layers in packet order") < text.index("severity")


def test_the_command_completes_one_host_after_the_other() -> None:
    app = app_with(None, names=["a-1", "a-2", "b"])
    assert commands.completions(app, "triage a") == ["triage a-1", "triage a-2"]
    assert commands.completions(app, "triage b a-2 a") == ["triage b a-2 a-1", "triage b a-2 a-2"]
    assert commands.completions(app, "host a-1 b") == []


async def test_many_hosts_are_judged_when_all_answers_are_there(monkeypatch) -> None:
    from tui import inquiry

    judged: list[str] = []
    real = inquiry.diagnose

    def counting(evidence):
        judged.append(evidence.host_id)
        return real(evidence)

    monkeypatch.setattr(inquiry, "diagnose", counting)
    names = [f"h-{at:02d}" for at in range(30)]
    backend = FakeBackend()
    app = app_with(backend, names=names)
    async with app.run_test(size=(120, 40)) as pilot:
        await triaged(pilot, *["space"] * 30, "t")
        await until(pilot, lambda: bool(backend.investigations), "asked")
        asked = backend.investigations[0]
        for name in names:
            asked.arrive(name, named(incident(), name))
        await until_text(pilot, "and 10 more hosts")
        assert len(set(judged)) <= 1, "only the host that is shown"
        asked.answer()
        await until_text(pilot, "finished in")
        assert sorted(set(judged)) == names


async def test_a_click_chooses_a_pane_and_a_simulated_fleet_is_called_so() -> None:
    app = app_with(answering(incident()), simulated=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await triaged(pilot)
        text = await until_text(pilot, "[0 layers]")
        assert " SIMULATED " in text
        line = text.splitlines()[app.screen._tabs.region.y]
        await pilot.click("#tabs", offset=(line.index("3 causes"), 0))
        await until_text(pilot, "[3 causes]")
        await pilot.press("shift+tab")
        await until_text(pilot, "[2 evidence]")
