"""What is planned for a host: which services, which way, which texts; and every refusal."""

from __future__ import annotations

import pytest

from benchmarks.benchmark import Request
from benchmarks.errors import BenchError
from benchmarks.synthesis.audio import Format, NotAudioError, Sound
from benchmarks.synthesis.definition import DEFINITION
from benchmarks.synthesis.texts import DIFFERENT, FIXED, body_limit, check_sound, checked_text
from probes.model import Host, Service, ServiceKind
from tests.support.synthesis import host_of

VOICEVOX = Service("voicevox", 50021, ServiceKind.VOICEVOX)
OPENVOICE = Service("openvoice", 8001, ServiceKind.OPENVOICE)
OPENAI = Service("llm", 8000, ServiceKind.OPENAI)
BACKEND = Service("backend", 55433, ServiceKind.HTTP, path="/api/voicevox/health")
FRONTEND = Service("frontend", 55434, ServiceKind.HTTP)
SSH = Service("ssh", 22, ServiceKind.SSH)
HOST = host_of(SSH, BACKEND, OPENVOICE, VOICEVOX, FRONTEND)
TEMPLATES = {"templates": {"mine": {"path": "/say", "json": {"words": "{text}"}}}}


def plan(host: Host = HOST, options: dict | None = None, **asked):
    return DEFINITION.plan(Request("synthesis", **asked), host, options or {})


def refusal(host: Host = HOST, options: dict | None = None, **asked) -> str:
    with pytest.raises(BenchError) as caught:
        plan(host, options, **asked)
    assert caught.value.layer == "plan"
    assert caught.value.next_step
    return caught.value.cause


def test_the_fixed_texts_have_the_lengths_of_the_report() -> None:
    assert [(case.id, len(case.text)) for case in FIXED] == [("r0-short", 5), ("r0-medium", 16), ("r0-long", 88)]
    assert len({case.text for case in FIXED} | set(DIFFERENT)) == 5


def test_full_is_each_service_by_itself_once_cold_where_that_can_be_told_then_every_text_warm() -> None:
    runs = plan()
    assert [(run.service, run.temperature, run.case.id, run.load.n) for run in runs] == [
        ("openvoice", "warm", "r0-short", 30),
        ("openvoice", "warm", "r0-medium", 30),
        ("openvoice", "warm", "r0-long", 30),
        ("voicevox", "cold", "r0-short", 1),
        ("voicevox", "warm", "r0-short", 30),
        ("voicevox", "warm", "r0-medium", 30),
        ("voicevox", "warm", "r0-long", 30),
    ]
    cold = runs[3].load
    assert (cold.mode, cold.min_s, cold.warmup_n, cold.concurrency) == ("check", 0.0, 0, 1)


def test_quick_is_ten_of_the_short_text_and_a_check_is_one() -> None:
    assert [(run.service, run.case.id, run.load.n) for run in plan(mode="quick")] == [
        ("openvoice", "r0-short", 10),
        ("voicevox", "r0-short", 10),
    ]
    (check,) = plan(mode="check", service="voicevox", texts=("あ、はい", "いいえ"))
    assert (check.case.text, check.load.n, check.temperature) == ("あ、はい", 1, "warm")


def test_texts_are_those_given_else_those_of_the_configuration() -> None:
    assert [run.case.text for run in plan(service="openvoice", texts=("一つ", "二つ"))] == ["一つ", "二つ"]
    assert [run.case.id for run in plan(service="openvoice", options={"texts": ["三つ"]})] == ["text-1"]
    assert plan(service="openvoice", options={"texts": [], "style": ""})[0].case.id == "r0-short"


def test_a_cold_run_is_one_request_whatever_the_load() -> None:
    cold, *_ = plan(service="voicevox", rate_per_s=5.0, concurrency=4)
    assert (cold.temperature, cold.load.rate_per_s, cold.load.concurrency, cold.load.n) == ("cold", None, 1, 1)
    assert {run.temperature for run in plan(service="voicevox", extra={"temperature": "warm"})} == {"warm"}
    assert [run.temperature for run in plan(service="voicevox", extra={"temperature": "cold"})] == ["cold"]
    assert "does not tell whether it is cold" in refusal(service="openvoice", extra={"temperature": "cold"})


def test_through_the_backend() -> None:
    for way in ("backend-voicevox", "backend-unified", "backend-clone"):
        (run,) = plan(mode="check", extra={"through": way})
        assert (run.service, run.options["through"], run.options["kind"]) == ("backend", way, "backend")
    (run,) = plan(mode="check", service="backend")
    assert run.options["through"] == "backend-voicevox"
    unified = Service("b", 1, ServiceKind.HTTP, path="/x/api/unified-voice/health")
    (run,) = plan(host_of(unified), mode="check", service="b")
    assert run.options["through"] == "backend-unified"
    assert "does not speak itself" in refusal(url="http://127.0.0.1:1", extra={"kind": "backend", "through": "direct"})
    assert "which service" in refusal(host_of(FRONTEND, Service("web", 1, ServiceKind.HTTP)), extra={"through": way})
    assert "leads through the backend" in refusal(service="voicevox", extra={"through": way})


def test_a_url_needs_its_kind() -> None:
    (run,) = plan(mode="check", url="http://127.0.0.1:50021/prefix", extra={"kind": "voicevox"})
    assert (run.service, run.url, run.options["kind"]) == (None, "http://127.0.0.1:50021/prefix", "voicevox")
    (run,) = plan(mode="check", url="http://127.0.0.1:1", extra={"through": "backend-clone"})
    assert run.options["through"] == "backend-clone"
    assert "without its kind" in refusal(url="http://127.0.0.1:1")
    assert "both a service and a URL" in refusal(url="http://127.0.0.1:1", service="voicevox")
    assert "without a URL" in refusal(extra={"kind": "voicevox"})
    secret = refusal(url="http://me:secret@127.0.0.1:1", extra={"kind": "voicevox"})
    assert "secret" not in secret
    refusal(url="ftp://127.0.0.1", extra={"kind": "voicevox"})
    refusal(url="nonsense", extra={"kind": "voicevox"})


def test_which_service_there_is() -> None:
    assert refusal(host_of(SSH)) == "node has no service that speaks"
    assert 'no service "nope"' in refusal(service="nope")
    assert "of kind ssh" in refusal(service="ssh")
    assert "of kind http" in refusal(service="frontend", extra={"through": "direct"})
    (run,) = plan(host_of(OPENAI), mode="check")
    assert run.options == {"kind": "openai", "through": "direct", "speed": 1.0, "model": "", "format": "wav"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \t ", "empty"),
        ("一\n二", "control character"),
        ("一\x1b[31m二", r"control character"),
        ("一\u2028二", "control character"),
        ("\ud800あ", "control character"),
        ("。。、…", "nothing to speak"),
        ("あ" * 20_001, "20001 characters, 20000 are the most"),
    ],
)
def test_texts_that_cannot_be_sent(text: str, words: str) -> None:
    assert words in refusal(service="openvoice", texts=(text,))


def test_a_text_of_ten_thousand_characters_goes_as_far_as_the_service_takes_it() -> None:
    text = "あ" * 10_000
    (run,) = plan(service="openvoice", texts=(text,))
    assert run.case.text == text
    assert "1000 are the most (the backend's limit)" in refusal(service="backend", texts=(text,))
    assert "too long for VOICEVOX" in refusal(service="voicevox", texts=(text,))
    assert len(plan(service="voicevox", texts=("a" * 10_000,))) == 2


def test_a_template_is_named_in_the_options_and_not_repeated() -> None:
    (run,) = plan(service="frontend", mode="check", extra={"template": "mine"}, options=TEMPLATES)
    assert run.options["kind"] == "template"
    assert run.options["template"] == "mine"
    assert "words" not in str(run.options)
    other = {"templates": {"mine": {"path": "/say", "json": {"said": "{text}"}}}}
    (changed,) = plan(service="frontend", mode="check", extra={"template": "mine"}, options=other)
    assert changed.options["template_digest"] != run.options["template_digest"]
    assert "without a service" in refusal(extra={"template": "mine"}, options=TEMPLATES)
    assert 'no template "other"' in refusal(service="frontend", extra={"template": "other"}, options=TEMPLATES)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"speed": "3"}, 'speed "3"'),
        ({"speed": "nan"}, 'speed "nan"'),
        ({"speed": "fast"}, 'speed "fast"'),
        ({"through": "tunnel"}, 'through "tunnel" is unknown'),
        ({"nope": "1"}, 'no parameter "nope"'),
        ({"language": "j\na"}, "control characters"),
    ],
)
def test_parameters_that_are_wrong(extra: dict[str, str], words: str) -> None:
    assert words in refusal(service="openvoice", extra=extra)


def test_speed_only_where_the_service_has_one() -> None:
    (run,) = plan(service="openvoice", mode="check", extra={"speed": "1.5"})
    assert run.options["speed"] == 1.5
    assert "unmodified" in refusal(service="voicevox", extra={"speed": "1.5"})
    assert "no speed" in refusal(extra={"speed": "1.5", "through": "backend-clone"})


def test_the_style_is_the_one_asked_for_else_the_configured() -> None:
    assert plan(service="voicevox", mode="check")[0].options.get("style") is None
    assert plan(service="voicevox", mode="check", options={"style": "8"})[0].options["style"] == "8"
    assert plan(service="voicevox", mode="check", options={"style": "8"}, style="21")[0].options["style"] == "21"


# --- how long a text may take ---


def sound(seconds: float, rms: float = 0.1) -> Sound:
    return Sound(Format(1000, 1, 16), round(seconds * 1000), 0.3, rms, 0.5, "x")


def test_plausible_lengths_by_hand() -> None:
    text = "あいうえおかきくけこ"  # ten characters: 0.3 to 15 s
    for fine in (0.3, 1.5, 15.0):
        check_sound(sound(fine), text)
    for wrong in (0.299, 15.001):
        with pytest.raises(NotAudioError, match=r"for 10 characters \(plausible: 0.30 to 15.00 s\)"):
            check_sound(sound(wrong), text)
    check_sound(sound(0.15), text, speed=2.0)
    with pytest.raises(NotAudioError):
        check_sound(sound(7.6), text, speed=2.0)
    check_sound(sound(30.0), text, speed=0.5)
    with pytest.raises(NotAudioError, match="silence"):
        check_sound(sound(1.0, rms=0.0), text)


def test_only_what_is_spoken_counts() -> None:
    with pytest.raises(NotAudioError):
        check_sound(sound(7.1), "はい。。。。。。。。。。")
    assert checked_text("テスト。") == "テスト。"


def test_an_answer_may_be_as_large_as_plausible_audio_and_no_larger() -> None:
    assert body_limit("あ") == 8 * 2**20
    assert body_limit("あ" * 88) == 47_616_000  # (88 s + 5 s) / 0.5 * 48 kHz * 4 bytes * 4 / 3
    assert body_limit("あ" * 20_000) == 256 * 2**20
