from __future__ import annotations

from msgspec.structs import replace

from probes.fleet import Fleet, new_link
from probes.judge.condition import Level
from probes.model import LinkState
from tests.support.fleets import BOOT_S, fleet_of, gpu, host, lost, make_live, mixed_fleet, sample, settings_of
from tui.board import AT_ONCE, BEAT_S, CYCLE_S, SWEEP_S, Board, GroupLine
from tui.filter import parse
from tui.rows import Row, briefly


def board_of(fleet, now=BOOT_S):
    board = Board(fleet, settings_of(fleet), now)
    fleet.take_dirty()
    board.work(now, everything=True)
    board.arrange(now)
    return board


def ids(board):
    return [line.host_id if isinstance(line, Row) else f"<{line.name}>" for line in board.lines]


def test_worst_first_then_natural_order():
    fleet = fleet_of(12, at_boot_s=BOOT_S)
    fleet.set_hosts([host(name) for name in ("n10", "n9", "n1")])
    board = board_of(fleet)
    assert ids(board) == ["n1", "n9", "n10"]
    board = board_of(mixed_fleet())
    levels = [line.rank for line in board.lines]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == Level.DOWN
    assert levels[-1] == Level.FINE


def test_unknown_values_sort_last_both_ways():
    board = board_of(mixed_fleet())
    for reverse in (False, True):
        board.sort, board.reverse = "temp", reverse
        board.arrange(BOOT_S)
        temps = [row.temp for row in board.lines]
        known = [temp for temp in temps if temp is not None]
        assert temps == known + [None] * (len(temps) - len(known))
        assert known == sorted(known, reverse=not reverse)
    assert any(row.temp is None for row in board.lines)


def test_every_column_sorts():
    from tui.columns import BY_KEY

    board = board_of(mixed_fleet())
    for key in BY_KEY:
        for reverse in (False, True):
            board.sort, board.reverse = key, reverse
            board.arrange(BOOT_S)
            assert sorted(ids(board)) == sorted(board.rows)


def test_a_changed_link_is_seen_at_once_a_changed_sample_within_the_cycle():
    fleet = fleet_of(400, at_boot_s=BOOT_S)
    board = board_of(fleet)
    fleet.set_link("gpu-300", new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused"))
    fleet.ingest("gpu-301", sample(2), BOOT_S, 0.0)
    board.take(fleet.take_dirty(), BOOT_S)
    assert board.rows["gpu-300"].level is Level.DOWN
    assert board.rows["gpu-301"].gpus == 8
    for _ in range(round(CYCLE_S / BEAT_S) + 1):
        board.work(BOOT_S)
    assert board.rows["gpu-301"].gpus == 2


def test_a_storm_is_taken_in_bounded_slices():
    fleet = fleet_of(400, at_boot_s=BOOT_S)
    board = board_of(fleet)
    for host_id in fleet.hosts:
        fleet.set_link(host_id, new_link(LinkState.UNREACHABLE, layer="tcp", cause="refused"))
    board.take(fleet.take_dirty(), BOOT_S)
    down = [row for row in board.rows.values() if row.level is Level.DOWN]
    assert len(down) == AT_ONCE
    for _ in range(round(CYCLE_S / BEAT_S) + 1):
        board.work(BOOT_S)
    assert all(row.level is Level.DOWN for row in board.rows.values())


def test_silence_becomes_a_state_without_any_change_in_the_store():
    fleet = fleet_of(50, at_boot_s=BOOT_S)
    board = board_of(fleet)
    assert all(row.level is Level.FINE for row in board.rows.values())
    now = BOOT_S
    while now < BOOT_S + 10 + SWEEP_S:
        now += BEAT_S
        board.work(now)
    assert all(row.level is Level.UNKNOWN for row in board.rows.values())


def test_for_starts_when_it_got_wrong_and_survives_retries():
    fleet = fleet_of(1, at_boot_s=BOOT_S)
    board = board_of(fleet)
    row = board.rows["gpu-000"]
    moments = {
        10: LinkState.UNREACHABLE, 20: LinkState.CONNECTING, 25: LinkState.UNREACHABLE, 30: LinkState.CONNECTING,
    }  # fmt: skip
    for after, state in moments.items():
        fleet.set_link("gpu-000", replace(new_link(state, attempt=2, cause="no"), since_boot_s=BOOT_S + after))
        board.take(fleet.take_dirty(), BOOT_S + after)
        assert row.since_boot_s == BOOT_S + 10
        assert row.rank == Level.DOWN, "it keeps its place while it is tried again"
    make_live(fleet, "gpu-000", at_boot_s=BOOT_S + 40)
    board.take(fleet.take_dirty(), BOOT_S + 40)
    board.work(BOOT_S + 40, everything=True)
    assert (row.level, row.rank, row.since_boot_s) == (Level.FINE, 0, BOOT_S + 40)


def test_groups_fold_and_count():
    fleet = mixed_fleet()
    board = board_of(fleet)
    board.next_grouping()
    board.arrange(BOOT_S)
    groups = [line for line in board.lines if isinstance(line, GroupLine)]
    assert {line.name for line in groups} == {"serve", "train", "[red]", "lab"}
    assert sum(line.totals.hosts for line in groups) == len(fleet.hosts)
    board.toggle_fold("train")
    board.arrange(BOOT_S)
    folded = next(line for line in board.lines if isinstance(line, GroupLine) and line.name == "train")
    assert folded.folded
    assert not any(isinstance(line, Row) and line.record.host.groups[0] == "train" for line in board.lines)
    board.next_grouping()
    board.arrange(BOOT_S)
    assert all(isinstance(line, GroupLine) for line in board.lines)
    board.next_grouping()
    board.arrange(BOOT_S)
    assert "<host key changed>" in ids(board)


def test_filter_and_faults_only():
    board = board_of(mixed_fleet())
    board.faults_only = True
    board.arrange(BOOT_S)
    assert all(line.level is not Level.FINE for line in board.lines)
    board.filter = parse("state=live")
    board.arrange(BOOT_S)
    assert set(ids(board)) == {"lost-gpu", "hot", "bad-ports", "full-disk"}
    assert board.totals.shown == 4
    assert board.totals.hosts == 19


def test_totals_count_only_what_is_known_and_live():
    fleet = Fleet([host("a"), host("b"), host("c")])
    unknown = gpu(1, utilization_pct=None, power_w=None, missing={"utilization_pct": "denied", "power_w": "denied"})
    make_live(fleet, "a", at_boot_s=BOOT_S)
    fleet.ingest("a", sample((gpu(0, utilization_pct=50.0, power_w=100.0), unknown, gpu(2, **lost()))), BOOT_S, 0.0)
    make_live(fleet, "b", at_boot_s=BOOT_S)
    fleet.set_link("b", new_link(LinkState.STALE))
    totals = board_of(fleet).totals
    assert (totals.hosts, totals.live, totals.gpus, totals.gpus_not_live) == (3, 1, 3, 8)
    assert (totals.util, totals.util_n, totals.power, totals.power_n) == (50.0, 1, 100.0, 1)
    assert (totals.busy, totals.lost) == (1, 1)
    nobody = board_of(Fleet([host("x")])).totals
    assert nobody.util is None
    assert nobody.power is None


def test_an_inventory_that_changes_drops_and_adds_rows():
    fleet = fleet_of(3, at_boot_s=BOOT_S)
    board = board_of(fleet)
    board.marked = {"gpu-000", "gpu-002"}
    kept = board.rows["gpu-002"]
    fleet.set_hosts([fleet.hosts["gpu-002"].host, host("new")])
    board.take(fleet.take_dirty(), BOOT_S)
    board.arrange(BOOT_S)
    assert set(ids(board)) == {"gpu-002", "new"}
    assert board.rows["gpu-002"] is kept
    assert board.marked == {"gpu-002"}


def test_nothing_moved_is_told_from_something_moved():
    fleet = fleet_of(3, at_boot_s=BOOT_S)
    board = board_of(fleet)
    assert not board.arrange(BOOT_S)
    fleet.set_link("gpu-002", new_link(LinkState.UNREACHABLE))
    board.take(fleet.take_dirty(), BOOT_S)
    assert board.arrange(BOOT_S)
    assert ids(board)[0] == "gpu-002"


def test_many_hot_gpus_are_one_phrase():
    assert briefly(["gpu1 81°C", "gpu2 93°C", "disk / 97%"]) == ["2 gpus hot, up to 93°C", "disk / 97%"]
    assert briefly(["gpu3 lost", "gpu1 81°C"]) == ["gpu3 lost", "gpu1 81°C"]
    assert briefly(["gpu3 lost", "gpu1 81°C", "x", "gpu2 82°C"]) == ["gpu3 lost", "2 gpus hot, up to 82°C", "x"]
