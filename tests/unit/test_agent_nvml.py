"""GPUs through a stand-in of libnvidia-ml.so.1 (a real shared library, compiled here), faults included."""

from __future__ import annotations

import os
import pwd
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from probes.hosts import agent, bootstrap
from probes.model import Hello, Note, Processes, Sample
from tests.support.agent_run import AgentRun
from tests.support.nvml import NvmlDouble, build

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("cc")
MIB = 1 << 20
NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, GPU_IS_LOST, MISMATCH, UNKNOWN = 3, 4, 13, 15, 18, 999


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def double(library: Path, tmp_path: Path) -> NvmlDouble:
    return NvmlDouble(library, tmp_path / "control")


def start(double: NvmlDouble, python: str = sys.executable, **more: object) -> AgentRun:
    nonce = bootstrap.new_nonce()
    return AgentRun(bootstrap.local_argv(nonce, python), nonce, environ=double.environ, **more)


def test_all_values_of_a_gpu(double: NvmlDouble) -> None:
    with start(double) as run:
        sample = run.wait(Sample, lambda sample: sample.gpus)
        hello = run.wait(Hello, lambda hello: hello.mode == "python+nvml")
        assert [note.need for note in run.all(Note)] == ["pynvml"]
        assert run.bad == []
    assert "gpus" not in sample.missing
    first, second = sample.gpus
    assert (first.index, second.index) == (0, 1)
    assert first.uuid == "GPU-00000000-0000-0000-0000-000000000000"
    assert first.name == "Double GPU <[31m0>"  # the escape character did not get through
    assert (first.utilization_pct, second.utilization_pct) == (40.0, 41.0)
    assert first.memory_total_bytes == 81920 * MIB
    assert first.memory_used_bytes == 10000 * MIB  # the v2 call: reserved is not in it
    assert first.memory_reserved_bytes == 614 * MIB
    assert first.memory_free_bytes == (81920 - 10000 - 614) * MIB
    assert (first.temperature_c, second.temperature_c) == (60.0, 61.0)
    assert first.power_w == 123.456
    assert first.power_limit_w == 350.0
    assert (first.sm_clock_mhz, first.memory_clock_mhz) == (1980.0, 2619.0)
    assert (first.fan_pct, first.pstate) == (33.0, "P2")
    assert first.throttle_reasons == ("sw_power_cap", "hw_thermal_slowdown")
    assert (first.ecc_corrected, first.ecc_uncorrected) == (5, 1)
    assert (first.pcie_gen, first.pcie_width) == (5, 16)
    assert first.mig == ()
    assert first.missing == {}
    assert (hello.driver, hello.cuda) == ("999.12.34", "13.2")
    assert "driver" not in hello.missing


def test_the_pynvml_that_is_sent_works_on_python_3_6(double: NvmlDouble) -> None:
    found = [path for path in Path.home().glob(".pyenv/versions/3.6.*/bin/python") if os.access(path, os.X_OK)]
    if not found:
        pytest.skip("no Python 3.6 on this machine")
    with start(double, str(found[0])) as run:
        assert run.wait(Sample, lambda sample: sample.gpus).gpus[0].missing == {}


def test_without_pynvml_the_gpus_are_not_yet_and_it_is_asked_for_once(double: NvmlDouble) -> None:
    with start(double, answer_notes=False) as run:
        sample = run.wait(Sample, lambda sample: sample.seq == 5)
        assert (sample.gpus, sample.missing["gpus"]) == ((), "not_yet")
        assert [note.need for note in run.all(Note)] == ["pynvml"]
        run.send(b"m 7\nbroken!")
        assert "did not arrive whole" in run.wait(Note, after=1).text
        run.send(bootstrap.pynvml_payload())
        run.wait(Sample, lambda sample: sample.gpus)


@pytest.mark.parametrize(
    ("function", "code", "fields", "reason"),
    [
        ("nvmlDeviceGetFanSpeed", NOT_SUPPORTED, ["fan_pct"], "unsupported"),
        ("nvmlDeviceGetPowerUsage", NO_PERMISSION, ["power_w"], "denied"),
        ("nvmlDeviceGetTemperature", UNKNOWN, ["temperature_c"], "error"),
        ("nvmlDeviceGetUtilizationRates", 10, ["utilization_pct"], "timeout"),
        ("nvmlDeviceGetTotalEccErrors", NOT_SUPPORTED, ["ecc_corrected", "ecc_uncorrected"], "unsupported"),
        (
            "nvmlDeviceGetMemoryInfo_v2",
            UNKNOWN,
            [name for name in agent.GPU_FIELDS if name.startswith("memory_") and name.endswith("_bytes")],
            "error",
        ),
    ],
)
def test_a_call_that_fails_costs_its_values_with_the_reason(
    double: NvmlDouble, function: str, code: int, fields: list[str], reason: str
) -> None:
    double.tell(f"fail {function} {code} 0")
    with start(double) as run:
        hit, whole = run.wait(Sample, lambda sample: sample.gpus).gpus
    assert hit.missing == dict.fromkeys(fields, reason)
    assert all(getattr(hit, field) is None for field in fields)
    assert whole.missing == {}


def test_a_driver_without_the_v2_call_has_no_reserved_memory(double: NvmlDouble) -> None:
    double.tell(f"fail nvmlDeviceGetMemoryInfo_v2 {FUNCTION_NOT_FOUND} -1")
    with start(double) as run:
        gpu = run.wait(Sample, lambda sample: sample.gpus).gpus[0]
    assert gpu.memory_total_bytes == 81920 * MIB
    assert gpu.memory_used_bytes == 10614 * MIB
    assert gpu.memory_reserved_bytes is None
    assert gpu.missing == {"memory_reserved_bytes": "unsupported"}


def test_a_driver_before_2023_names_throttling_otherwise(double: NvmlDouble) -> None:
    double.tell(f"fail nvmlDeviceGetCurrentClocksEventReasons {FUNCTION_NOT_FOUND} -1")
    with start(double) as run:
        gpu = run.wait(Sample, lambda sample: sample.gpus).gpus[0]
    assert gpu.throttle_reasons == ("sw_power_cap",)


def test_a_lost_gpu_keeps_its_row_and_comes_back(double: NvmlDouble) -> None:
    with start(double) as run:
        run.wait(Sample, lambda sample: len(sample.gpus) == 2)
        double.tell(f"fail * {GPU_IS_LOST} 1")
        whole, lost = run.wait(Sample, lambda sample: sample.gpus and sample.gpus[1].missing).gpus
        assert whole.missing == {}
        assert whole.utilization_pct == 40.0
        assert lost.uuid == "GPU-00000000-0000-0000-0000-000000000001"
        assert lost.name is not None
        assert lost.missing == dict.fromkeys(agent.GPU_FIELDS, "gpu_lost")
        assert all(getattr(lost, field) is None for field in agent.GPU_FIELDS)
        double.tell()
        run.wait(Sample, lambda sample: sample.gpus and not sample.gpus[1].missing, after=len(run.all(Sample)))


def test_a_gpu_lost_from_the_start_has_a_row_without_a_name(double: NvmlDouble) -> None:
    double.tell(f"fail * {GPU_IS_LOST} 1")
    with start(double) as run:
        lost = run.wait(Sample, lambda sample: sample.gpus).gpus[1]
    assert lost.uuid is None
    assert lost.missing["uuid"] == lost.missing["name"] == lost.missing["power_w"] == "gpu_lost"


def test_a_driver_that_hangs_holds_up_no_sample_and_its_values_age_out(double: NvmlDouble) -> None:
    with start(double, interval_s=0.2) as run:
        run.wait(Sample, lambda sample: sample.gpus)
        double.tell("hang nvmlDeviceGetTemperature 5")
        hung = run.wait(Sample, lambda sample: sample.gpus and sample.gpus[0].missing)
        samples = run.all(Sample)
        assert hung.gpus[0].missing == dict.fromkeys(agent.GPU_FIELDS, "timeout")
        assert hung.gpus[0].uuid == "GPU-00000000-0000-0000-0000-000000000000"
        assert [sample.seq for sample in samples] == list(range(len(samples)))
        gaps = [sample.interval_s for sample in samples if sample.interval_s is not None]
        assert max(gaps) < 2.5  # nothing waited for the driver, which sleeps 5 s in every call
        assert hung.memory.total_bytes is not None
        double.tell()
        run.wait(Sample, lambda sample: sample.gpus and not sample.gpus[0].missing, after=len(samples))


def test_a_driver_that_hangs_from_the_start_is_a_timeout(double: NvmlDouble) -> None:
    double.tell("hang nvmlInitWithFlags 0")
    with start(double) as run:
        assert run.wait(Sample, lambda sample: sample.missing.get("gpus") == "timeout").gpus == ()
        run.eof()  # the hanging thread does not keep the process
        run.wait_end()


def test_a_driver_that_does_not_answer_init_says_why(double: NvmlDouble) -> None:
    double.tell(f"fail nvmlInitWithFlags {MISMATCH} -1")
    with start(double) as run:
        sample = run.wait(Sample, lambda sample: sample.missing.get("gpus") == "error")
        note = run.wait(Note, lambda note: "nvmlInit" in note.text)
        hello = run.wait(Hello, lambda hello: hello.missing.get("driver") == "error")
    assert sample.gpus == ()
    assert note.layer == "nvml"
    assert hello.mode == "python"


def test_mig_instances(double: NvmlDouble) -> None:
    double.tell("mig 1")
    with start(double) as run:
        plain, mig = run.wait(Sample, lambda sample: sample.gpus).gpus
    assert plain.mig == ()
    assert mig.utilization_pct is None
    assert mig.missing == {"utilization_pct": "unsupported"}
    assert [(one.index, one.name, one.memory_total_bytes, one.memory_used_bytes) for one in mig.mig] == [
        (0, "Double GPU MIG 0", 20480 * MIB, 1000 * MIB),
        (1, "Double GPU MIG 1", 20480 * MIB, 1000 * MIB),
    ]
    assert mig.mig[1].uuid == "MIG-00000000-0000-0000-0001-000000000001"


def test_gpu_processes_have_user_name_and_memory(double: NvmlDouble) -> None:
    double.tell(f"process 1 {os.getpid()} {2 * MIB}", f"process 0 {os.getppid()} -1", "process 0 4194000 7")
    with start(double) as run:
        run.send(b"p 1\n")
        listed = run.wait(Processes, lambda listed: listed.gpu)
    assert listed.gpu is not None
    rows = {(row.gpu, row.pid): row for row in listed.gpu}
    mine = rows[1, os.getpid()]
    assert mine.memory_bytes == 2 * MIB
    assert mine.user == pwd.getpwuid(os.geteuid()).pw_name
    assert mine.name == Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert rows[0, os.getppid()].memory_bytes is None
    assert listed.missing["gpu.memory_bytes"] == "unsupported"
    assert rows[0, 4194000].user is None
    assert rows[0, 4194000].name == "double-4194000"


def test_a_denied_process_list_is_not_an_empty_one(double: NvmlDouble) -> None:
    double.tell(f"fail nvmlDeviceGetComputeRunningProcesses_v3 {NO_PERMISSION} -1")
    with start(double) as run:
        run.send(b"p 1\n")
        listed = run.wait(Processes, lambda listed: listed.missing.get("gpu") == "denied")
    assert listed.gpu is None


def test_eight_gpus_make_a_line_of_about_two_kilobytes_and_memory_stays_small(double: NvmlDouble) -> None:
    double.tell("gpus 8")
    with start(double) as run:
        sample = run.wait(Sample, lambda sample: len(sample.gpus) == 8 and sample.seq >= 10)
        size = max(len(line) for line in run.raw if b'"t":"s"' in line)
    assert 1500 < size < 4000
    assert sample.agent.rss_bytes is not None
    assert sample.agent.rss_bytes < 25 << 20


def test_a_pynvml_that_does_not_load_is_an_error_not_a_wait(double: NvmlDouble) -> None:
    with start(double, answer_notes=False) as run:
        run.wait(Note, lambda note: note.need == "pynvml")
        body = zlib.compress(b"def broken(")
        run.send(b"m %d\n%s" % (len(body), body))
        run.wait(Sample, lambda sample: sample.missing.get("gpus") == "error")
        assert "SyntaxError" in run.wait(Note, after=1).text


# --- the host's own pynvml ---


def site(prefix: Path, text: str) -> None:
    folder = prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "pynvml.py").write_text(text, encoding="ascii")


@pytest.fixture
def no_pynvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    real = sys.modules.pop("pynvml", None)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("pynvml", None)
    if real is not None:
        sys.modules["pynvml"] = real


def test_the_hosts_own_pynvml_is_used_where_it_has_all_that_is_needed(no_pynvml: Path) -> None:
    site(no_pynvml, "".join(f"{name} = 1\n" for name in agent._NVML_NEEDED))
    found = agent.host_pynvml()
    assert found is not None
    assert found.__file__.startswith(str(no_pynvml))
    assert sys.path == []


@pytest.mark.parametrize(
    "text", ["nvmlInit = 1\n", "raise RuntimeError\n", "import no_such_module_anywhere\n", "not python"]
)
def test_an_old_or_broken_pynvml_is_passed_over(no_pynvml: Path, text: str) -> None:
    site(no_pynvml, text)
    assert agent.host_pynvml() is None
    assert "pynvml" not in sys.modules
    assert sys.path == []
