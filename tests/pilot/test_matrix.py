from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from probes.fleet import Fleet, new_link
from probes.model import Health, LinkState, PortState, Service, ServiceState
from tests.support.fleets import HOSTILE_ID, FakeBackend, fleet_of, host, make_live
from tests.support.screens import (
    HOSTILE,
    NOW_S,
    app_of,
    golden,
    hostile_fleet,
    screen_text,
    screen_widths,
    until,
    until_text,
)
from tui.screens.host import HostScreen
from tui.screens.matrix import MatrixScreen
from tui.widgets.service_grid import SSH_COLUMN, ServiceGrid, columns_of, is_fault

if TYPE_CHECKING:
    from textual.pilot import Pilot


def faulty_fleet(hosts: int = 12) -> Fleet:
    """Every state of a port, every health, a few dead links."""
    fleet = fleet_of(hosts, 1, NOW_S - 2)
    for index, state in enumerate(PortState):
        probe = ServiceState("voicevox", 50021, state, 3.3 if state is PortState.OPEN else None,
                             detail=f"because {index}", at_boot_s=NOW_S - 3)  # fmt: skip
        fleet.set_service(f"gpu-{index:03d}", probe)
    fleet.set_service(
        "gpu-001",
        ServiceState("openvoice", 8001, PortState.OPEN, 104.2, Health.FAILING, "model_loaded is false",
                     at_boot_s=NOW_S - 3, phases_ms={"tcp": 104.2, "first_byte": 220.0}),
    )  # fmt: skip
    fleet.set_service(
        "gpu-002",
        ServiceState("backend", 55433, PortState.OPEN, 12.0, via="bastion", at_boot_s=NOW_S - 3),
    )
    dead = new_link(
        LinkState.AUTH_FAILED, layer="auth", cause="permission denied (publickey)", next_step="check the key"
    )
    fleet.set_link("gpu-003", replace(dead, since_boot_s=NOW_S - 60))
    return fleet


async def opened(pilot: Pilot[Any]) -> MatrixScreen:
    app: Any = pilot.app
    await pilot.press("m")
    await until(pilot, lambda: isinstance(app.screen, MatrixScreen) and bool(app.screen.grid.order), "the matrix")
    await pilot.pause()
    return app.screen


async def put(pilot: Pilot[Any], host_id: str, column: str) -> None:
    grid = pilot.app.screen.query_one(ServiceGrid)
    grid.select(host_id, grid.columns.index(column))
    await pilot.pause()


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_matrix_looks_as_it_should(size) -> None:
    app = app_of(faulty_fleet())
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await put(pilot, "gpu-001", "openvoice")
        assert screen_widths(app) == {size[0]}
        await golden(pilot, f"matrix_{size[0]}x{size[1]}")


async def test_every_state_has_a_sign_and_a_word_of_its_own() -> None:
    app = app_of(faulty_fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        text = screen_text(app)
        cells = [next(line for line in text.splitlines() if f"gpu-{i:03d}" in line) for i in range(len(PortState))]
        for line, words in zip(
            cells, ("○ 3.3 ms", "r refused", "f filtered", "x rejected", "u unreach", "n no name", "· no probe"),
            strict=True,
        ):  # fmt: skip
            assert words in line, line
        legend = text[text.index("open and healthy") :]
        for state in ("refused", "filtered", "rejected by firewall", "unreachable", "unresolved", "not probed"):
            assert state in legend


@pytest.mark.parametrize(
    ("host_id", "column", "words"),
    [
        ("gpu-001", "openvoice", ("◐ open", "connect 104 ms", "UNHEALTHY", "first_byte 220.0 ms", "3.0s ago",
                                  "from this machine", "model_loaded is false")),
        ("gpu-002", "backend", ("via bastion", "health not asked", "connect 12.0 ms")),
        ("gpu-002", "voicevox", ("f filtered", "something drops the packets", "because 2")),
        ("gpu-003", SSH_COLUMN, ("auth failed for 1m00s", "TCP passed", "host key passed", "login FAILED",
                                 "hostname not reached", "permission denied (publickey). Next: check the key")),
        ("gpu-000", SSH_COLUMN, ("live", "login passed", "hostname gpu-000")),
    ],
)  # fmt: skip
async def test_the_detail_of_a_cell(host_id, column, words) -> None:
    app = app_of(faulty_fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await put(pilot, host_id, column)
        text = await until_text(pilot, words[0])
        for each in words:
            assert each in text, (each, text)


async def test_keys_move_open_filter_and_leave() -> None:
    app = app_of(faulty_fleet())
    async with app.run_test(size=(80, 24)) as pilot:
        backend = app.backend = FakeBackend()
        screen = await opened(pilot)
        grid = screen.grid
        await pilot.press("home", "down", "j", "right", "l", "l")
        assert (grid.cursor_host, grid.cursor_column) == (grid.order[2], 3)
        await pilot.press("k", "left")
        assert (grid.cursor_host, grid.cursor_column) == (grid.order[1], 2)
        await pilot.press("end")
        assert grid.cursor_host == grid.order[-1]
        await pilot.press("r")
        assert backend.calls == [("probe_services", grid.cursor_host)]
        await pilot.press("f")
        assert grid.order == [f"gpu-{i:03d}" for i in range(1, len(PortState))]
        assert grid.cursor_host in grid.order
        await until_text(pilot, "FAULTS ONLY")
        await pilot.press("escape")
        assert len(grid.order) == 12
        chosen = grid.cursor_host
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, HostScreen), "the host")
        assert app.screen.host_id == chosen
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen, "the matrix again")
        assert grid.cursor_host == chosen
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, MatrixScreen), "the fleet")


async def test_the_cursor_stays_on_its_host_when_hosts_come_and_go() -> None:
    fleet = faulty_fleet()
    app = app_of(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await put(pilot, "gpu-005", "backend")
        hosts = [record.host for record in fleet.hosts.values()]
        fleet.set_hosts([host("aaa", services=(Service("extra", 1),)), *hosts[4:]])
        await until(pilot, lambda: "aaa" in screen.grid.order, "the new host")
        assert screen.grid.cursor_host == "gpu-005"
        assert "extra" in screen.grid.columns
        fleet.set_hosts([h for h in hosts if h.id != "gpu-005"])
        await until(pilot, lambda: screen.grid.cursor_host != "gpu-005", "another host")
        assert screen.grid.cursor_host in screen.grid.order


async def test_a_change_is_drawn_and_an_old_probe_is_dimmed() -> None:
    now = [NOW_S]
    fleet = faulty_fleet()
    app = app_of(fleet)
    app.boot_s = lambda: now[0]
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        fleet.set_service(
            "gpu-011", ServiceState("backend", 55433, PortState.REFUSED, None, detail="RST", at_boot_s=NOW_S)
        )
        await until(
            pilot,
            lambda: any("gpu-011" in line and "r refused" in line for line in screen_text(app).splitlines()),
            "the refused port",
        )
        now[0] += 3600
        old = app.palette.old

        def dimmed() -> bool:
            strip = app.screen._compositor.render_strips()[3]
            return any(s.text.startswith("● 1.2") and s.style and s.style.color == old.color for s in strip)

        await until(pilot, dimmed, "probes of an hour ago are dimmed")


async def test_signs_alone_when_asked_and_when_words_do_not_fit() -> None:
    services = tuple(Service(f"service-{i}", 1000 + i) for i in range(20))
    fleet = Fleet(host(f"h{i}", services=services) for i in range(5))
    for host_id in fleet.hosts:
        make_live(fleet, host_id, 0, NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(160, 30)) as pilot:
        screen = await opened(pilot)
        assert not screen.grid.shows_words
        assert "1.2 ms" not in screen_text(app).split("connect")[0]
        await pilot.press("w")
        await until_text(pilot, "● 1.2 ms")
        for _ in range(20):
            await pilot.press("right")
        text = await until_text(pilot, "service-19")
        assert " h0 " in text, "the host column stands still"
        assert screen_widths(app) == {160}


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (300, 80)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_names_at_any_size(size, ascii_only) -> None:
    services = tuple(Service(name or "empty", 7000 + i) for i, name in enumerate(HOSTILE))
    fleet = hostile_fleet()
    fleet.set_hosts(
        [*(record.host for record in fleet.hosts.values()),
         *(host(name, services=services) for name in HOSTILE if name)]
    )  # fmt: skip
    app = app_of(fleet, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        for key in ("down", "right", "w", "right", "right", "end", "f", "w"):
            await pilot.press(key)
            assert screen_widths(app) == {size[0]}
        assert app.screen is screen
        assert not [e for e in fleet.events if e.kind == "internal"]


async def test_a_click_selects_and_a_second_one_opens() -> None:
    app = app_of(faulty_fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        x = screen.grid.host_width + screen.grid._places()[2][0] + 1
        await pilot.click("#grid", offset=(x, 4))
        assert (screen.grid.cursor_host, screen.grid.cursor_column) == ("gpu-003", 2)
        await pilot.click("#grid", offset=(x, 4), times=2)
        await until(pilot, lambda: isinstance(app.screen, HostScreen), "the host")


async def test_a_thousand_hosts_draw_only_what_is_seen() -> None:
    app = app_of(fleet_of(1000, 0, NOW_S))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        drawn: set[str] = set()
        real = ServiceGrid._key

        def counting(self: ServiceGrid, host_id: str) -> tuple[object, ...]:
            drawn.add(host_id)
            return real(self, host_id)

        ServiceGrid._key = counting  # type: ignore[method-assign]
        try:
            await pilot.press("end")
            await until_text(pilot, "gpu-999")
            screen.grid.take({"gpu-500", "gpu-999"})
        finally:
            ServiceGrid._key = real  # type: ignore[method-assign]
        assert "gpu-999" in drawn
        assert len(drawn) <= 80


def test_columns_and_faults() -> None:
    fleet = Fleet([host("a", services=(Service("x", 1),)), host("b", services=(Service("y", 1), Service("x", 2)))])
    records = list(fleet.hosts.values())
    assert columns_of(records) == (SSH_COLUMN, "x", "y")
    assert is_fault(records[0]), "connecting, nothing probed"
    make_live(fleet, "a", 0, NOW_S)
    assert not is_fault(records[0])
    fleet.set_service("a", ServiceState("x", 1, PortState.OPEN, 1.0, Health.FAILING))
    assert is_fault(records[0])


async def test_a_hostile_host_name_cannot_act_on_the_terminal():
    fleet = Fleet([host(HOSTILE_ID), host("fine")])
    app = app_of(fleet)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("m")
        await until_text(pilot, "SSH session")
        text = screen_text(app)
        assert "[/kworker][b]" in text
        assert all(char.isprintable() for char in text.replace("\n", ""))
        assert set(screen_widths(app)) == {120}
