"""The simulated machines stay within what their hardware can do, and say why a value is missing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.demo.catalog import MIB, Behaviour, Fault, Temper, gpu_of, plan
from probes.demo.faults import WINDOWS, active, boot_age_s, boots
from probes.demo.gpus import MAX_TEMPERATURE_C
from probes.demo.simulate import hello, processes, sample
from probes.demo.use import HOLD_S, Serving, Use
from probes.model import Gpu, Line, Sample

FLEET = plan(48, 7)
HOSTS = st.sampled_from(FLEET)
TIMES = st.floats(0.0, 50_000.0, allow_nan=False)


def host_playing(fault: Fault):
    return next(host for host in FLEET if host.fault is fault)


def nones_without_reason(value: msgspec.Struct) -> list[str]:
    missing = getattr(value, "missing", {})
    return [name for name in value.__struct_fields__ if getattr(value, name) is None and name not in missing]


@settings(max_examples=150, deadline=None)
@given(HOSTS, TIMES, st.sampled_from([Serving(), Serving(frozenset({0, 1, 7})), Serving(cpu=True)]))
def test_every_value_is_within_physical_bounds(host, t, serving):
    now = sample(host, t, 3, 1.0, (1, 20), serving=serving)
    assert len(now.gpus) == host.machine.gpus
    for gpu in now.gpus:
        check_gpu(gpu)
    assert now.cpu.per_core_pct is not None
    assert len(now.cpu.per_core_pct) == now.cpu.count == host.machine.cores
    assert all(0 <= core <= 100 for core in (*now.cpu.per_core_pct, now.cpu.utilization_pct))
    assert 0 <= now.cpu.load1 <= 2 * host.machine.cores
    memory = now.memory
    assert 0 < memory.used_bytes < memory.total_bytes < host.machine.memory_bytes
    assert memory.used_bytes + memory.available_bytes == memory.total_bytes
    assert 0 <= memory.swap_used_bytes <= memory.swap_total_bytes
    for disk in now.disks:
        assert 0 < disk.used_bytes <= disk.total_bytes
        assert disk.read_bytes_per_s >= 0
        assert disk.write_bytes_per_s >= 0
    assert all(nic.rx_bytes_per_s >= 0 and nic.tx_bytes_per_s >= 0 for nic in now.net)
    assert now.uptime_s >= 0


def check_gpu(gpu: Gpu) -> None:
    assert nones_without_reason(gpu) == []
    assert all(getattr(gpu, name) is None for name in gpu.missing)
    if gpu.memory_total_bytes is None:
        return
    assert gpu.memory_used_bytes >= MIB
    assert gpu.memory_used_bytes + gpu.memory_free_bytes + gpu.memory_reserved_bytes == gpu.memory_total_bytes
    assert gpu.memory_free_bytes >= 0
    assert 15 <= gpu.temperature_c <= MAX_TEMPERATURE_C
    assert 0 < gpu.power_w <= gpu.power_limit_w
    assert gpu.utilization_pct is None or 0 <= gpu.utilization_pct <= 100
    assert gpu.fan_pct is None or 0 <= gpu.fan_pct <= 100
    assert all(0 <= part.memory_used_bytes <= part.memory_total_bytes for part in gpu.mig)
    assert bool(gpu.mig) == (gpu.missing.get("utilization_pct") == "unsupported")


@settings(max_examples=60, deadline=None)
@given(HOSTS, TIMES)
def test_what_is_said_survives_the_wire(host, t):
    decoder = msgspec.json.Decoder(Line)
    for line in (hello(host, t), sample(host, t, 0, None), sample(host, t, 1, 1.0, (4, 12)), processes(host, t)):
        assert decoder.decode(msgspec.json.encode(line)) == line


@settings(max_examples=60, deadline=None)
@given(HOSTS, TIMES)
def test_temperature_and_memory_have_inertia(host, t):
    before, after = (sample(host, at, 1, 1.0) for at in (t, t + 0.5))
    for one, other in zip(before.gpus, after.gpus, strict=True):
        if one.temperature_c is not None and other.temperature_c is not None:
            assert abs(one.temperature_c - other.temperature_c) <= 4


@settings(max_examples=60, deadline=None)
@given(HOSTS, TIMES)
def test_gpu_processes_fit_into_the_memory_of_their_gpu(host, t):
    listed, now = processes(host, t), sample(host, t, 1, 1.0)
    if listed.gpu is None:
        assert listed.missing == {"gpu": "timeout"}
        return
    used = {gpu.index: gpu.memory_used_bytes for gpu in now.gpus}
    pids = {process.pid for process in listed.top}
    for process in listed.gpu:
        assert process.memory_bytes <= used[process.gpu]
        assert process.pid in pids
    assert listed.total >= len(listed.top)
    assert all(process.rss_bytes > 0 and process.cpu_pct >= 0 for process in listed.top)


def test_the_same_seed_gives_the_same_fleet_and_another_seed_another():
    again, other = plan(24, 7), plan(24, 8)
    said = [sample(host, 77.0, 1, 1.0) for host in FLEET[:24]]
    assert [sample(host, 77.0, 1, 1.0) for host in again] == said
    assert [sample(host, 77.0, 1, 1.0) for host in other] != said
    assert [host.id for host in again] == [host.id for host in other]
    assert len({host.id for host in FLEET}) == len(FLEET)


def test_24_hosts_play_every_fault():
    assert {host.fault for host in plan(24, 7)} == set(Fault)
    behaviours = {service.behaviour for host in plan(24, 7) for service in host.services}
    assert behaviours == set(Behaviour)


@pytest.mark.parametrize(("seq", "interval_s"), [(0, None), (1, 1.0)])
def test_rates_are_missing_in_the_first_sample_only(seq, interval_s):
    now = sample(FLEET[0], 10.0, seq, interval_s)
    assert (now.cpu.per_core_pct is None) is (interval_s is None)
    for part in (*now.disks, *now.net):
        assert nones_without_reason(part) == []
        assert bool(part.missing) is (interval_s is None)


def test_a_throttling_host_gets_hot_slow_and_says_why():
    host = host_playing(Fault.THROTTLE)
    cool, hot = sample(host, 5.0, 1, 1.0), sample(host, 50.0, 1, 1.0)
    for before, after in zip(cool.gpus, hot.gpus, strict=True):
        assert after.temperature_c >= host.machine.gpu.slowdown_c > before.temperature_c
        assert after.sm_clock_mhz < before.sm_clock_mhz
        assert "hw_thermal_slowdown" in after.throttle_reasons
        assert "hw_thermal_slowdown" not in before.throttle_reasons


def test_a_lost_gpu_says_so_and_leaves_an_xid():
    host = host_playing(Fault.GPU_LOST)
    assert sample(host, 20.0, 1, 1.0).xid_events == ()
    lost = sample(host, 60.0, 1, 1.0)
    gone = [gpu for gpu in lost.gpus if "gpu_lost" in gpu.missing.values()]
    assert len(gone) == 1
    assert gone[0].uuid == sample(host, 20.0, 1, 1.0).gpus[gone[0].index].uuid
    assert [xid.code for xid in lost.xid_events] == [79]
    assert lost.xid_events[0].uptime_s <= lost.uptime_s
    assert all("gpu_lost" not in gpu.missing.values() for gpu in sample(host, 120.0, 1, 1.0).gpus)


def test_a_hung_driver_is_a_timeout_and_never_a_number():
    now: Sample = sample(host_playing(Fault.DRIVER_HUNG), 50.0, 1, 1.0)
    assert {gpu.missing["temperature_c"] for gpu in now.gpus} == {"timeout"}
    assert all(gpu.temperature_c is None for gpu in now.gpus)


def test_a_reboot_changes_the_boot_id_and_starts_the_uptime_anew():
    host = host_playing(Fault.REBOOT)
    script = WINDOWS[Fault.REBOOT]
    before, after = script.start_s - 1, script.end_s + 1
    assert hello(host, before).boot_id != hello(host, after).boot_id
    assert boots(host, before) == 0
    assert boots(host, after) == 1
    assert boot_age_s(host, after) < 60 < boot_age_s(host, before)
    assert sample(host, after + 30, 1, 1.0).uptime_s == pytest.approx(sample(host, after, 1, 1.0).uptime_s + 30)


@pytest.mark.parametrize("fault", sorted(WINDOWS))
def test_scripted_faults_come_go_and_come_again(fault):
    host, script = host_playing(fault), WINDOWS[fault]
    assert not active(host, fault, script.start_s - 0.1)
    assert active(host, fault, script.start_s + 0.1)
    assert not active(host, fault, script.end_s + 0.1) or script.end_s == script.period_s
    assert active(host, fault, script.period_s + script.start_s + 0.1)
    assert not any(active(other, fault, script.start_s + 0.1) for other in FLEET if other.fault is not fault)


@pytest.mark.parametrize("host_id", ["tyo-l4-01", "tyo-t4-06", "tyo-l4-05"])
@pytest.mark.parametrize("t", [3.0, 47.0, 1234.5])
def test_a_gpu_that_serves_is_loaded_and_draws_more_and_its_neighbours_do_not(host_id, t):
    host = next(host for host in FLEET if host.id == host_id)
    before, after = sample(host, t, 1, 1.0), sample(host, t, 1, 1.0, serving=Serving(frozenset({0})))
    assert 85 <= after.gpus[0].utilization_pct <= 97
    assert after.gpus[0].power_w > before.gpus[0].power_w
    assert after.gpus[0].power_w > 0.8 * host.machine.gpu.limit_w
    assert after.gpus[1:] == before.gpus[1:]
    assert after.cpu == before.cpu


def test_the_host_that_falls_back_to_its_processor_loads_no_gpu():
    host = next(host for host in FLEET if host.temper is Temper.CPU_FALLBACK)
    for t in range(0, 2000, 50):
        now = sample(host, float(t), 1, 1.0, serving=Serving(cpu=True))
        assert [gpu.utilization_pct for gpu in now.gpus] == [0.0]
        assert 85 < now.cpu.utilization_pct <= 100
        assert processes(host, float(t)).gpu == ()


def test_a_service_waits_on_a_gpu_of_its_own_where_there_are_several():
    host = next(host for host in FLEET if host.id == "tyo-l4-01")
    assert [gpu_of(host.machine, name) for name in ("voicevox", "openvoice", "llm", "frontend")] == [0, 1, 3, None]
    listed = {process.gpu: process.name for process in processes(host, 500.0).gpu}
    assert (listed[0], listed[1], listed[3]) == ("voicevox_engine", "openvoice_api", "vllm serve")
    assert sample(host, 500.0, 1, 1.0).gpus[0].utilization_pct <= 5


def test_use_holds_for_a_sampling_period_and_counts():
    now = [10.0]
    use = Use(lambda: now[0])
    one, cpu = use.hook(0), use.hook(None)
    assert use.now() == Serving()
    one(1), one(1), cpu(1)
    assert use.now() == Serving(frozenset({0}), cpu=True)
    one(-1), cpu(-1)
    now[0] += HOLD_S + 0.01
    assert use.now() == Serving(frozenset({0}))
    one(-1)
    assert use.now() == Serving(frozenset({0}))
    now[0] += HOLD_S + 0.01
    assert use.now() == Serving()
