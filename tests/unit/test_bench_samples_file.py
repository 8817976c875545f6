"""The samples of a run: written while it goes, whole or said to be missing, and never the end of a run."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.model import Outcome, Sample, Side
from benchmarks.samples_file import SampleWriter, read_samples, samples_path

ROOT = Path(__file__).parents[2]
RUN = "20261125T203636-00aa11"


def sample(i: int, phase: str = "measure") -> Sample:
    return Sample(i, phase, i, i + 1, i + 2, Outcome.TIMEOUT, {"rtf": 0.5}, {"dns": 0.1}, Side.SERVER, "音 60 s", "f")  # pyright: ignore[reportArgumentType]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_what_is_written_is_read(tmp_path):
    writer = SampleWriter(tmp_path / "state" / "samples", RUN)
    written = [sample(1, "warmup"), sample(2), sample(3)]
    for one in written:
        writer.add(one)
    assert writer.close() == (f"{RUN}.jsonl", "")
    assert writer.close() == (f"{RUN}.jsonl", "")
    path = samples_path(tmp_path / "state" / "samples", f"{RUN}.jsonl")
    read = read_samples(path)
    assert (list(read.samples), read.torn, read.unreadable) == (written, False, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_it_has_its_name_when_it_is_complete_and_keeps_the_phases_before(tmp_path):
    writer = SampleWriter(tmp_path, RUN)
    writer.add(sample(1, "warmup"))
    assert names(tmp_path) == []
    writer.add(sample(2))
    assert names(tmp_path) == [f".{RUN}.jsonl.part"]
    assert read_samples(tmp_path / f".{RUN}.jsonl.part").samples == (sample(1, "warmup"),)
    writer.close()
    assert names(tmp_path) == [f"{RUN}.jsonl"]


def test_much_is_written_before_the_end(tmp_path):
    writer = SampleWriter(tmp_path, RUN)
    for i in range(8000):
        writer.add(sample(i))
    assert (tmp_path / f".{RUN}.jsonl.part").stat().st_size > 1_000_000
    writer.close()
    assert len(read_samples(tmp_path / f"{RUN}.jsonl").samples) == 8000


def test_without_a_folder_nothing_is_written_and_nothing_is_wrong():
    writer = SampleWriter(None, RUN)
    writer.add(sample(1))
    assert writer.close() == (None, "")


def test_without_a_sample_there_is_no_file(tmp_path):
    assert SampleWriter(tmp_path, RUN).close() == (None, "")
    assert names(tmp_path) == []


def test_a_run_that_came_to_nothing_leaves_nothing(tmp_path):
    writer = SampleWriter(tmp_path, RUN)
    writer.add(sample(1, "warmup"))
    writer.add(sample(2))
    writer.abandon()
    writer.abandon()
    writer.add(sample(3))
    assert writer.close() == (None, "")
    assert names(tmp_path) == []


def test_its_size_is_bounded_and_what_was_left_out_is_counted(tmp_path):
    writer = SampleWriter(tmp_path, RUN, max_bytes=1000)
    for i in range(100):
        writer.add(sample(i))
    name, problem = writer.close()
    assert name is not None
    kept = read_samples(tmp_path / name).samples
    assert 0 < len(kept) < 100
    assert (tmp_path / name).stat().st_size <= 1000
    assert problem == f"{100 - len(kept)} samples not saved: the file is full"


def test_another_file_of_that_name_is_kept(tmp_path):
    (tmp_path / f"{RUN}.jsonl").write_text("theirs")
    writer = SampleWriter(tmp_path, RUN)
    writer.add(sample(1))
    assert writer.close() == (None, "samples not saved: a file of that name exists")
    assert (tmp_path / f"{RUN}.jsonl").read_text() == "theirs"


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    writer = SampleWriter(tmp_path / "file" / "samples", RUN)
    writer.add(sample(1, "warmup"))
    writer.add(sample(2))
    writer.add(sample(3))
    assert writer.close() == (None, "samples not saved: Not a directory")


_ON_A_FULL_DISK = f"""
import sys
from pathlib import Path
from benchmarks.samples_file import SampleWriter
from benchmarks.model import Sample, Outcome
folder = Path(sys.argv[1])
writer = SampleWriter(folder, {RUN!r})
for i in range(20_000):
    writer.add(Sample(i, "measure", i, i, i, Outcome.OK))
print(writer.close(), list(folder.iterdir()))
"""


@pytest.mark.needs("unshare")
def test_a_full_disk_is_said_and_its_room_given_back(tmp_path):
    script = f"mount -t tmpfs -o size=64k none '{tmp_path}' && exec '{sys.executable}' -c \"$0\" '{tmp_path}'"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, _ON_A_FULL_DISK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    assert done.stdout == "(None, 'samples not saved: no space left') []\n", done.stderr


# --- reading ---


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    writer = SampleWriter(tmp_path, RUN)
    for i in range(3):
        writer.add(sample(i))
    writer.close()
    return tmp_path / f"{RUN}.jsonl"


def test_a_torn_last_line_is_said_and_the_others_are_read(complete):
    whole = complete.read_bytes()
    complete.write_bytes(whole[:-20])
    read = read_samples(complete)
    assert (read.samples, read.torn, read.unreadable) == ((sample(0), sample(1)), True, 0)


def test_lines_that_are_none_are_counted(complete):
    whole = complete.read_bytes()
    complete.write_bytes(b"\xff\n{}\n" + whole)
    read = read_samples(complete)
    assert (len(read.samples), read.torn, read.unreadable) == (3, False, 2)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(BenchError, match="cannot be read") as caught:
        read_samples(tmp_path / "none.jsonl")
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", ".."])
def test_a_name_never_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(BenchError, match="no name"):
        samples_path(tmp_path, name)
