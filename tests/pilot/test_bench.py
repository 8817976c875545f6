"""The Bench screen, driven by keys at several sizes on a runner that plays a script."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from benchmarks.errors import BenchError
from benchmarks.result import Counts, Phase
from probes.fleet import Fleet
from tests.support.benching import (
    FakeWork,
    bench_app,
    could_not_start,
    graded_capped,
    graded_s,
    invalid,
    opened,
    points,
    progress,
    readings,
    started,
)
from tests.support.fleets import HOSTILE_ID, host, make_live
from tests.support.screens import HOSTILE, NOW_S, app_of, golden, screen_text, screen_widths, until, until_text
from tui import bench_desk
from tui.app import QuarterdeckApp
from tui.widgets.bench_live import LivePanel
from tui.widgets.bench_plot import Scatter

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from tests.support.benching import ScriptedRunner

SIZES = [(80, 24), (120, 40), (200, 50)]


def internal(app: QuarterdeckApp) -> list[str]:
    return [event.text for event in app.fleet.events if event.kind == "internal"]


def fails_twice(runner: ScriptedRunner) -> None:
    """Seven of ten requests, two of which failed."""
    runner.play(
        progress=progress(7, outcomes={"ok": 5, "timeout": 1, "http_error": 1}, last_error="http_error: 503 [/b] loading"),
        points=list(points(7, failed=(3,))),
        gpu=list(readings(8)),
    )  # fmt: skip


def ends(runner: ScriptedRunner, *results: Any) -> None:
    runner.play(
        state="done", progress=progress(30, 30), points=list(points(14)), gpu=list(readings(14)), results=list(results)
    )
    runner.finish()


# --- looks ---


@pytest.mark.parametrize("size", SIZES)
async def test_the_form(size) -> None:
    app = bench_app(FakeWork())
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await until_text(pilot, "3 runs: voicevox medium (warm), voicevox")
        await golden(pilot, f"bench-form-{size[0]}x{size[1]}")
        assert screen_widths(app) == {size[0]}
        assert internal(app) == []


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("size", SIZES)
async def test_a_run_with_failures(size, ascii_only) -> None:
    work = FakeWork()
    app = bench_app(work, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        runner = await started(pilot, work)
        fails_twice(runner)
        text = await until_text(pilot, "7 of 10")
        for words in ("run 1 of 3 medium warm", "[measure]", "rate 1.02/s", "ETA 3.0s", "in flight 1", "HTTP error 1",
                      "timeout 1", "http_error: 503 [/b] loading", "GPU utilisation 0-100%", "2 failed"):  # fmt: skip
            assert words in text or words == "2 failed", words
        await golden(pilot, f"bench-run-{size[0]}x{size[1]}{'-ascii' if ascii_only else ''}")
        assert not ascii_only or screen_text(app).isascii()
        assert internal(app) == []


@pytest.mark.parametrize(
    ("name", "result", "size"),
    [("s", graded_s, (80, 24)), ("s", graded_s, (120, 40)), ("capped", graded_capped, (120, 40)),
     ("invalid", invalid, (120, 40)), ("capped", graded_capped, (80, 24)), ("s", graded_s, (300, 80))],
)  # fmt: skip
async def test_grade_cards(name, result, size) -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=size) as pilot:
        runner = await started(pilot, work)
        ends(runner, result())
        await until_text(pilot, "ended: synthesis: 1 done")
        await golden(pilot, f"bench-{name}-{size[0]}x{size[1]}")
        assert screen_widths(app) == {size[0]}
        assert internal(app) == []


async def several(pilot: Pilot[Any], work: FakeWork) -> ScriptedRunner:
    """Six hosts, each in another state."""
    await opened(pilot, *["space"] * 6, "b")
    await pilot.press("s")
    await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "it runs")
    runner = work.last
    runner.play(0, state="done", results=[graded_s(), graded_capped(), invalid()], progress=progress(10))
    runner.play(1, progress=progress(4), points=list(points(4)), gpu=list(readings(5)))
    runner.play(2, progress=progress(0, None, phase="preflight", rate_per_s=None, eta_s=None, outcomes={}))
    runner.play(3, state="starting")
    runner.play(4, state="failed", failures=[could_not_start()])
    return runner


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_several_hosts_each_in_its_own_state(size) -> None:
    work = FakeWork()
    app = bench_app(work, hosts=6)
    async with app.run_test(size=size) as pilot:
        await several(pilot, work)
        await until_text(pilot, "1 done, 2 running, 1 starting, 1 FAILED, 1 queued  at most 4 at once")
        await until_text(pilot, "RUNNING synthesis 2/6 hosts")
        await pilot.press("j")
        await until_text(pilot, "4 of 10")
        await golden(pilot, f"bench-several-{size[0]}x{size[1]}")
        await pilot.press("n", "n", "n")
        await until_text(pilot, "run 1 could not start")
        await golden(pilot, f"bench-failed-{size[0]}x{size[1]}")
        await pilot.press("n")
        await until_text(pilot, "waits for its turn")
        await pilot.press("n", "3")
        await until_text(pilot, "3 results")
        await pilot.press("N", "N", "N", "2")
        await until_text(pilot, "the engine starts: nothing has been sent yet")
        assert internal(app) == []


async def test_a_run_without_gpu_samples_says_why() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        runner.play(progress=progress(2), points=list(points(2)), points_left_out=17)
        text = await until_text(pilot, "no GPU samples (no agent on the host: unreachable)")
        assert "17 points not drawn" in text


async def test_what_happens_in_phases_that_do_not_count() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        await until_text(pilot, "waits for its turn")
        for phase, words in (("preflight", "nothing is loaded yet"), ("barrier", "waiting for the others"),
                             ("drain", "the requests on their way"), ("validate", "checking and judging")):  # fmt: skip
            runner.play(progress=progress(0, None, phase=phase, outcomes={}))
            await until_text(pilot, words)
        runner.play(state="at_barrier", progress=progress(3, phase="odd [b]", p50_s=0.25))
        text = await until_text(pilot, "[odd [b]]")
        assert "p50 so far 250 ms" in text


async def test_nothing_is_built_anew_while_nothing_changes(monkeypatch) -> None:
    built: list[int] = []
    real = LivePanel.build
    monkeypatch.setattr(LivePanel, "build", lambda self, width: (built.append(width), real(self, width))[1])
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        fails_twice(runner)
        await until_text(pilot, "7 of 10")
        await pilot.pause(0.6)
        before = len(built)
        for _ in range(8):
            app.screen.hosts_changed(set())
            await pilot.pause()
        assert len(built) == before
        runner.changed()
        app.screen.hosts_changed(set())
        await until(pilot, lambda: len(built) > before, "something new is drawn")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "left")
        before = len(built)
        runner.play(progress=progress(8))
        await pilot.pause(0.6)
        assert len(built) == before, "a screen that is not seen draws nothing"
        runner.finish()


async def test_many_points_are_caught_up_with_in_several_drawings(monkeypatch) -> None:
    taken: list[int] = []
    real = Scatter.add
    monkeypatch.setattr(Scatter, "add", lambda self, some: (taken.append(len(some)), real(self, some))[1])
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        every = [replace(one, at_s=at / 100) for at, one in enumerate(points(9000, failed=range(0, 9000, 100)))]
        runner.play(progress=progress(9000, 20000), points=every)
        live = app.screen._live
        await until_text(pilot, "90 failed")
        assert live._plots[0].scatter.n == 9000
        assert max(taken) <= 2000
        assert not live.behind
        runner.play(progress=progress(1, run=1), points=every[:1])
        await until_text(pilot, "run 2 of 3")
        await until(pilot, lambda: live._plots[0].scatter.n == 1, "another run begins anew")
        runner.finish()


# --- the form ---


async def test_the_form_is_filled_in_by_keys() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot)
        await pilot.press("j", "l")
        await until_text(pilot, "n 30 and at least 5 s, 1 at a time, warm-up 2, timeout 60 s")
        await pilot.press("h", "h")
        await until_text(pilot, "check: connectivity and one request")
        await pilot.press("right")
        assert screen.form.mode == "quick"
        await pilot.press("k", "enter")
        await until_text(pilot, "API latency")
        await pilot.press("down", "enter")
        await until_text(pilot, "1 run: health")
        await pilot.press("h")
        await until_text(pilot, "speech synthesis")
        names = [field.name for field in screen.form.fields()]
        await pilot.press(*["j"] * names.index("n"))
        await pilot.press("enter")
        await until_text(pilot, "requests: ")
        await pilot.press("1", "2", "x", "enter")
        await until_text(pilot, "expected a whole number")
        await pilot.press("s")
        await until_text(pilot, "not started: requests: expected a whole number")
        assert work.runners == []
        await pilot.press("enter")
        await until(pilot, lambda: screen._prompt is not None and screen._prompt.input.has_focus, "the prompt")
        await pilot.press("backspace", "enter")
        text = await until_text(pilot, "n 12, 1 at a time")
        assert "default the mode's own" in text
        await pilot.press("s")
        await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "it runs")
        assert {run.load.n for run in work.last.suite.plan.jobs[0].runs} == {12}
        await pilot.press("1", "enter", "escape")
        await until(pilot, lambda: screen._prompt is None, "escape leaves the prompt")
        assert app.screen is screen
        work.last.finish()


async def test_hosts_are_picked_and_the_rest_of_the_form_follows() -> None:
    work = FakeWork()
    app = bench_app(work, hosts=5)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot)
        assert "hosts at once" not in screen_text(app)
        await pilot.press("j", "j", "enter")
        await until_text(pilot, "[x] gpu-000")
        await pilot.press("j", "space", "k", "space", "j", "j", "space")
        await until_text(pilot, "[ ] gpu-000")
        await pilot.press("enter")
        text = await until_text(pilot, "2: gpu-001, gpu-002")
        assert "hosts at once" in text
        await until_text(pilot, "on gpu-001; 2 hosts")
        await pilot.press("enter", "a", "a", "enter")
        await until(pilot, lambda: screen.form.host_ids == (), "none")
        await until_text(pilot, "no host is chosen")
        await pilot.press("s")
        await until_text(pilot, "not started: no host is chosen")
        await pilot.press("enter", "a", "escape")
        await until(pilot, lambda: app.screen is screen, "left")
        assert screen.form.host_ids == ()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_several_nodes_together(size) -> None:
    work = FakeWork()
    app = bench_app(work, hosts=3)
    async with app.run_test(size=size, notifications=True) as pilot:
        screen = await opened(pilot)
        screen.form.host_ids = ("gpu-000", "gpu-001", "gpu-002")
        screen.form.set("start", "scaling")
        screen._changed()
        await until_text(pilot, "2 times on gpu-000; 3 hosts, all at one moment")
        await pilot.press("s")
        await until(pilot, lambda: work.runners and work.last.suite is not None, "started")
        runner = work.last
        assert [job.plan.nodes for job in runner.suite.jobs] == [1, 1, 1, 3, 3, 3]
        await until_text(pilot, "each alone, then together")
        for at, (name, nodes, ok, end) in enumerate(
            [("0", 1, 30, 5), ("1", 1, 30, 5), ("2", 1, 30, 5), ("0", 3, 30, 10), ("1", 3, 30, 8)]
        ):
            runner.play(at, state="done", results=[on_node(f"gpu-00{name}", nodes, ok, end)])
        runner.play(5, state="failed", problems=["the engine's process ended early (signal 9) [/b]"])
        runner.finish()
        await pilot.press("3")
        text = await until_text(pilot, "2 of 3 finished")
        for words in (
            "medium warm on 3 nodes together",
            "throughput",
            " 6/s ",
            "0.500",
            "spread",
            "the engine's process",
        ):
            assert words in text, words
        await golden(pilot, f"bench-together-{size[0]}x{size[1]}")
        assert internal(app) == []


def on_node(host_id: str, nodes: int, ok: int, end_s: int) -> Any:
    """A result of one node: so many requests from second 0 to the end."""
    t0 = 1_000_000_000_000
    made = graded_s(nodes=nodes)
    throughput = replace(made.metrics["throughput"], value=ok / end_s)
    return replace(
        made,
        run_id=f"20261125T203102Z-{host_id[-3:]}{nodes:03d}",
        target=replace(made.target, host=host_id),
        counts=Counts(ok, ok, {"ok": ok}),
        metrics={**made.metrics, "throughput": throughput},
        phases=(Phase("measure", t0, t0 + end_s * 1_000_000_000),),
    )


async def test_a_host_that_has_nothing_to_measure_is_refused_with_the_reason() -> None:
    fleet = Fleet([host("web [/b]", services=())])
    make_live(fleet, "web [/b]", 1, NOW_S - 2)
    work = FakeWork()
    app = app_of(fleet, bench_work=lambda: work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await until_text(pilot, "plan: web [/b] has no speech service (configure one, or give --url)")
        await pilot.press("s")
        await until_text(pilot, "NOT STARTED")
        assert work.runners == []
        assert not app.bench.busy


async def test_benchmarks_that_cannot_be_listed() -> None:
    work = FakeWork()
    work.benchmarks = ()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await until_text(pilot, "there is no benchmark in this build")
        await pilot.press("s", "j", "enter", "l", "y")
        await until_text(pilot, "there is nothing to start yet")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "left")
        assert internal(app) == []


# --- starting, leaving, ending ---


async def test_quick_validation_of_this_host_is_one_key() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "B")
        await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "it runs at once")
        (job,) = work.last.suite.plan.jobs
        assert job.host.id == "gpu-001"
        assert {(run.load.mode, run.load.n, run.load.warmup_n) for run in job.runs} == {("check", 1, 0)}
        await until_text(pilot, "[2 run]")
        ends(work.last, graded_s())
        await until_text(pilot, "[3 result]")
        await pilot.press("B")
        await until(pilot, lambda: len(work.runners) == 2, "and again from here")
        assert work.last.suite is None or work.last.suite.plan.jobs[0].host.id == "gpu-001"
        await until(pilot, lambda: work.last.suite is not None, "it runs")
        work.last.finish()


async def test_quick_validation_is_of_the_host_under_the_cursor_and_not_of_the_last_run() -> None:
    work = FakeWork()
    app = bench_app(work, hosts=3)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("B")
        await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "the first")
        ends(work.last, graded_s())
        await until_text(pilot, "[3 result]")
        await pilot.press("escape", "j", "B")
        await until(pilot, lambda: len(work.runners) == 2 and work.last.suite is not None, "the second")
        assert work.last.suite.plan.jobs[0].host.id == "gpu-001"
        await pilot.press("escape", "j", "B")
        await until_text(pilot, "x cancels it")
        assert len(work.runners) == 2
        work.last.finish()


async def test_quick_validation_of_a_host_without_such_a_service() -> None:
    fleet = Fleet([host("web", services=())])
    work = FakeWork()
    work.benchmarks = work.benchmarks[:1]
    app = app_of(fleet, bench_work=lambda: work)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("B")
        await until_text(
            pilot, "NOT STARTED  plan: web has no speech service".replace("  ", " ", 1).replace(" plan", "  plan")
        )
        assert work.runners == []


@pytest.mark.parametrize("yes", [True, False])
async def test_a_production_host_asks_first(yes) -> None:
    fleet = Fleet([host("prod-1", labels={"env": "production"}), host("lab-1")])
    work = FakeWork()
    app = app_of(fleet, bench_work=lambda: work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        app.run_command("bench api-latency prod-1 lab-1")
        await until_text(pilot, "asks before it is loaded")
        await pilot.press("s")
        await until_text(pilot, "would load prod-1. Type yes to go on.")
        await pilot.press("y", *("es" if yes else "e"), "enter")
        if yes:
            await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "it runs")
            work.last.finish()
        else:
            await until_text(pilot, "not started: a production host was not confirmed")
            await pilot.press("s", "escape")
            await until_text(pilot, "[1 set up]")
            assert work.runners == []


async def test_a_run_goes_on_when_the_screen_is_left_and_its_end_is_announced() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        runner = await started(pilot, work)
        runner.play(progress=progress(3))
        await pilot.press("escape")
        await until_text(pilot, "bench synthesis 3/10")
        assert runner.ended == ""
        await pilot.press("m")
        await until_text(pilot, "bench synthesis 3/10")
        await pilot.press("escape", "j", "b")
        await until_text(pilot, "[2 run]")
        await until_text(pilot, "3 of 10")
        await until_text(pilot, "bench gpu-000")
        await pilot.press("s")
        await until_text(pilot, "not started: bench synthesis 3/10 runs; x cancels it")
        await pilot.press("B")
        assert len(work.runners) == 1
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "left")
        ends(runner, graded_s())
        await until_text(pilot, "benchmark synthesis: 1 done; S")
        await until(pilot, lambda: not app.bench_words, "nothing runs")
        assert [event.text for event in app.fleet.events if event.kind == "bench"] == [
            "synthesis began on gpu-000", "synthesis: 1 done; S",
        ]  # fmt: skip
        await pilot.press("b")
        await until_text(pilot, "[1 set up]")
        await pilot.press("3")
        await until_text(pilot, "grade S")


async def test_cancelling_keeps_what_was_measured() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        runner = await started(pilot, work)
        partial = replace(
            invalid(), validity=replace(invalid().validity, reasons=("cancelled after 7 of 10 requests",))
        )
        runner.play(progress=progress(7), results=[partial])
        await pilot.press("x")
        await until_text(pilot, "cancelling: what was measured is kept")
        assert runner.cancelled
        await until_text(pilot, "cancelled after 7 of 10 requests")
        await until_text(pilot, "1 cancelled")
        await until(pilot, lambda: not app.bench.busy, "over")
        await pilot.press("x")
        await until_text(pilot, "nothing runs")


async def test_quitting_asks_while_something_runs() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        runner.play(progress=progress(3))
        await pilot.press("q")
        await until_text(pilot, "A benchmark runs (bench synthesis 3/10). Cancel it")
        await pilot.press("n")
        await until(pilot, lambda: type(app.screen).__name__ == "BenchScreen", "it stays")
        assert not runner.cancelled
        app.run_command("quit")
        await until_text(pilot, "and quit?")
        await pilot.press("y")
        await until(pilot, lambda: runner.ended != "", "cancelled, with its results")
        assert (runner.cancelled, runner.ended) == (True, "returned")
    assert app.return_code == 0


async def test_a_signal_does_not_ask() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        app.quit_soon()
        await until(pilot, lambda: runner.ended != "", "cancelled")
        assert (runner.cancelled, runner.ended) == (True, "returned")
    assert app.return_code == 0


async def test_an_engine_that_does_not_end_is_left_after_a_while(monkeypatch) -> None:
    monkeypatch.setattr(bench_desk, "END_S", 0.05)
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)
        runner.cancel = lambda: None  # type: ignore[method-assign]
        app.quit_soon()
        await until(pilot, lambda: runner.ended != "", "ended")
        assert runner.ended == "cancelled", "without its results, but ended"
    assert app.return_code == 0


async def test_cancelling_while_it_is_planned() -> None:
    work = FakeWork()
    held = threading.Event()
    work.prepare = lambda: "" if held.wait(5) else "not in time"  # type: ignore[method-assign]
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._form.plan is not None, "planned")
        await pilot.press("s")
        await until_text(pilot, "planning, and starting the engine")
        await pilot.press("x")
        held.set()
        await until_text(pilot, "cancelled before anything was run")
        assert work.runners == []
        await pilot.press("1", "s")
        await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "another one")
        work.last.finish()


async def test_an_engine_of_ours_that_breaks_is_said_and_another_run_may_begin() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        runner = await started(pilot, work)

        runner.play(progress=progress(1))
        runner.breaks(RuntimeError("boom [/b]"))
        await until_text(pilot, "ENDED EARLY")
        assert any("boom [/b]" in text for text in internal(app))
        await pilot.press("1", "s")
        await until(pilot, lambda: len(work.runners) == 2 and work.last.suite is not None, "another one")
        work.last.finish()


async def test_results_that_are_not_stored_are_said_to_be() -> None:
    work = FakeWork()
    work.not_stored = "results are not stored: store: results.sqlite3 is of a newer quarterdeck (update it)"
    app = bench_app(work)
    async with app.run_test(size=(80, 24)) as pilot:
        runner = await started(pilot, work)
        runner.play(progress=progress(1), problems=["not stored: store: no space left on the disk [/b]"])
        await until_text(pilot, "is of a newer quarterdeck")
        await until_text(pilot, "no space left on the disk [/b]")
        runner.finish()


async def test_a_plan_that_fails_is_said() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._form.plan is not None, "planned")

        def refuse(*_: object) -> Any:
            raise BenchError("5000 requests a second are more than the engine can send on time", layer="plan",
                             next_step="at most 1000")  # fmt: skip

        work.plan = refuse  # type: ignore[method-assign]
        await pilot.press("s")
        await until_text(pilot, "NOT STARTED  plan: 5000 requests a second")
        await until(pilot, lambda: not app.bench.busy, "over")
        app.fleet.set_hosts([])
        await pilot.press("1", "s")
        await until_text(pilot, "no longer configured: gpu-000")


# --- moving about ---


async def test_panes_results_and_scrolling(monkeypatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(QuarterdeckApp, "copy_to_clipboard", lambda _self, text: copied.append(text))
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        runner = await started(pilot, work)
        await pilot.press("y")
        await until_text(pilot, "there is no result to copy the id of")
        await pilot.press("3")
        await until_text(pilot, "no result yet: the run goes on")
        await pilot.press("2")
        ends(runner, graded_s(), graded_capped(), invalid())
        await pilot.press("tab")
        await until_text(pilot, "3 results")
        await pilot.press("l")
        await until_text(pilot, "grade B~?")
        await pilot.press("l", "y")
        await until_text(pilot, " INVALID  no letter: these figures cannot be trusted")
        assert copied == [invalid().run_id]
        await pilot.press("l")
        await until_text(pilot, "grade S")
        side = app.screen._side
        await pilot.press("j", "pagedown")
        await until(pilot, lambda: side.scroll_y > 10, "scrolled")
        await pilot.press("end")
        await until(pilot, lambda: side.scroll_y == side.max_scroll_y > 0, "the end")
        await until_text(pilot, "20261125T203102Z-4f1c2a.jsonl")
        await pilot.press("home", "k", "pageup", "shift+tab")
        await until_text(pilot, "[2 run]")
        line = screen_text(app).splitlines()[app.screen._tabs.region.y]
        await pilot.click("#tabs", offset=(line.index("1 set up"), 0))
        await until_text(pilot, "[1 set up]")
        await pilot.press("end", *["j"] * 20)
        await until(pilot, lambda: "label" in screen_text(app), "the last line of the form is scrolled to")
        assert internal(app) == []


async def test_from_the_host_and_the_matrix_and_by_command() -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot, "enter", "b")
        assert screen.host_id == "gpu-000"
        await pilot.press("escape", "escape", "m")
        await until(pilot, lambda: type(app.screen).__name__ == "MatrixScreen", "the matrix")
        screen = await opened(pilot, "down", "b")
        assert screen.host_id == "gpu-001"
        app.run_command("bench api-latency gpu-002 gpu-000")
        await until(pilot, lambda: app.screen is not screen, "the one takes the place of the other")
        await until_text(pilot, "2: gpu-002, gpu-000")
        assert app.screen.form.definition.id == "api-latency"
        app.run_command("bench gpu-001")
        await until_text(pilot, "bench gpu-001")
        app.run_command("bench nobody")
        await until_text(pilot, "no host 'nobody'")


@pytest.mark.parametrize("theme", ["dark", "light", "colour-blind", "mono"])
async def test_the_letter_is_told_without_colour(theme) -> None:
    work = FakeWork()
    app = bench_app(work)
    async with app.run_test(size=(120, 40)) as pilot:
        app.theme = theme
        runner = await started(pilot, work)
        ends(runner, graded_capped())
        text = await until_text(pilot, "grade B~?")
        assert "██████             grade" in text
        assert "PROVISIONAL" in text
        assert "approximate" in text


def hostile_results() -> list[Any]:
    worst = graded_capped()
    target = replace(worst.target, host=HOSTILE_ID, endpoint=HOSTILE[3] + "\x1b[31m", device_claimed=HOSTILE[4])
    return [
        replace(
            worst, target=target, case=HOSTILE[5], case_text=HOSTILE[6] + "\r\n", errors=HOSTILE, notes=HOSTILE,
            label=HOSTILE[1], kpis=(replace(worst.kpis[0], title=HOSTILE[7], formula=HOSTILE[8]),),
            checks=(replace(worst.checks[0], detail=HOSTILE[0] * 9),),
            grade=replace(worst.grade, statistic=HOSTILE[1], policy_id=HOSTILE[3]),
            metrics={HOSTILE[4]: worst.metrics["response_time"]},
        ),
        replace(invalid(), validity=replace(invalid().validity, reasons=HOSTILE)),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(20, 5), (39, 9), (40, 10), (80, 24), (90, 45), (160, 40), (300, 80)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_hostile_text_at_any_size(size, ascii_only) -> None:
    fleet = Fleet([host(HOSTILE_ID), host("[/x]")])
    work = FakeWork()
    app = app_of(fleet, bench_work=lambda: work, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await opened(pilot, "space", "space", "b")
        await pilot.press("s")
        await until(pilot, lambda: bool(work.runners) and work.last.suite is not None, "it runs")
        runner = work.last
        runner.play(0, progress=progress(5, case=HOSTILE[1], phase=HOSTILE[3], last_error=HOSTILE[6] + HOSTILE[8],
                                         outcomes={"ok": 1, HOSTILE[0]: 4}), points=list(points(9)))  # fmt: skip
        runner.play(1, state="failed", failures=[replace(could_not_start(), cause=HOSTILE[7])], problems=list(HOSTILE))
        for key in ("2", "n", "1", "j", "j", "enter", "escape", "3", "2", "N"):
            await pilot.press(key)
            assert screen_widths(app) == {size[0]}
        runner.play(0, state="done", results=hostile_results())
        runner.finish()
        for key in ("3", "l", "j", "pagedown", "end", "home", "tab", "shift+tab"):
            await pilot.press(key)
            await pilot.pause()
            assert screen_widths(app) == {size[0]}
            text = screen_text(app)
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert not ascii_only or text.isascii()
        assert internal(app) == []
        if size[0] < 40 or size[1] < 10:
            assert "too small" in screen_text(app)
