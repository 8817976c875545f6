"""How a stand-in behaves: its speed and its faults, as one value that can be changed while it runs.

Every moment is a pure function of the behaviour, the number of the request and the length of its text, so that a test
knows by hand what must be measured.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from probes.demo.noise import unit

#: what a service answers as audio: speech, or one of the ways in which it may be none
Audio = Literal["speech", "silence", "same", "truncated", "no_frames", "garbage", "odd_chunks"]
Flood = Literal["none", "endless", "huge"]
EmptyText = Literal["accept", "refuse", "crash"]

HUGE_BYTES: Final = 2 << 30
_JITTER: Final = 1
_FAILURE: Final = 2


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True):
    """Speed and faults of a stand-in. The default is a healthy service that takes no time at all.

    *Work* is what synthesises or generates; the other routes are answered at once and without faults, unless
    ``scope`` is ``all``. Work is numbered from 0 in the order in which it arrives, since the service was made.

    Attributes:
        delay_s: each piece of work takes at least so long, in its slot.
        delay_per_char_s: and so much more for each character of the text (of the prompt, with a language model).
        jitter_s: and between nothing and this much more, by ``seed`` and the number of the request.
        seed: of the jitter and of the share of errors.
        cold_extra_s: and this much more when what it needs was not initialised (VOICEVOX: the style).
        query_s: what VOICEVOX's ``audio_query`` takes (it is no work).
        slow_numbers: the work of these numbers takes ``slow_extra_s`` longer.
        first_byte_s: every answer, on every route, comes so much later; it occupies no slot.
        body_s: the body comes so long after the head.
        slots: so much work is done at once, the rest waits in line as for one GPU; None: all at once.
        frozen_from_s: from this moment after the first request since ``behave`` was called, nothing proceeds ...
        frozen_for_s: ... for so long; then all goes on where it stood.
        frozen_from_work: the time of the freeze counts from the arrival of the work of this number instead.
        held: work waits until this is false again.
        keep_alive_s: a connection without a request is closed after so long.
        requests_per_connection: the connection is closed (with ``Connection: close``) after so many; None: never.
        scope: ``work``, or ``all`` routes are slow and faulty.
        error_share: this share of the work (0 to 1, by ``seed``) ends with ``error_status``, and at once.
        error_numbers: as does the work of these numbers.
        error_status: 500, 502, 503, 429, ...; 0: no answer but a reset.
        retry_after_s: the header Retry-After of an error, in whole seconds.
        dies_after: so much work is still answered; with the next the listener closes and all connections are reset.
        ok_error_body: work answers 200 with an error in JSON.
        audio: what the audio is. ``same``: one recording for every text. ``truncated``: half of what its header says.
        flood: ``endless``: the body never ends. ``huge``: a Content-Length of 2 GiB (and that many bytes).
        drops_after: so many parts of a stream are sent, then half of the next, then a reset (a whole body: its half).
        empty_text: ``accept``, ``refuse`` with the contract's own status, or ``crash`` with 500.
        empty_catalog: no styles, no profiles, no models.
        initializing: alive, but not ready: health says so, and work is refused.
        unhealthy: health says so with status 200.
        ttft_s: language models: token 0 is generated so long after the work began (after ``delay_s`` and the like) ...
        token_s: ... and token j so much later for each: at ``ttft_s + j * token_s``.
        reply_tokens: so many, unless the request allows fewer.
        tokens_per_chunk: a chunk holds so many, and goes out with the last of them.
        role_first: a stream of chat begins with an empty role delta, at once.
        finish: a reply ends with its finish reason.
        usage: a usage block is sent to who asks for it.
        split_s: each event goes out in two parts, cut inside a character of several bytes where it has one; the first
            part so much before the event's own time. None: in one part.
        first_audio_s: ``/v1/audio/speech`` streams: the head (and a WAV's header) at once, the first frame so much
            later. None: the whole file at the end of the work.
        audio_chunk_s: seconds between the parts of such a stream, each of which holds one character (0.125 s of sound).
    """

    delay_s: float = 0.0
    delay_per_char_s: float = 0.0
    jitter_s: float = 0.0
    seed: int = 7
    cold_extra_s: float = 0.0
    query_s: float = 0.0
    slow_numbers: tuple[int, ...] = ()
    slow_extra_s: float = 0.0
    first_byte_s: float = 0.0
    body_s: float = 0.0
    slots: int | None = None
    frozen_from_s: float = 0.0
    frozen_for_s: float = 0.0
    frozen_from_work: int | None = None
    held: bool = False
    keep_alive_s: float = 75.0
    requests_per_connection: int | None = None
    scope: Literal["work", "all"] = "work"
    error_share: float = 0.0
    error_numbers: tuple[int, ...] = ()
    error_status: int = 500
    retry_after_s: int | None = None
    dies_after: int | None = None
    ok_error_body: bool = False
    audio: Audio = "speech"
    flood: Flood = "none"
    drops_after: int | None = None
    empty_text: EmptyText = "refuse"
    empty_catalog: bool = False
    initializing: bool = False
    unhealthy: bool = False
    ttft_s: float = 0.0
    token_s: float = 0.0
    reply_tokens: int = 32
    tokens_per_chunk: int = 1
    role_first: bool = True
    finish: bool = True
    usage: bool = True
    split_s: float | None = None
    first_audio_s: float | None = None
    audio_chunk_s: float = 0.0

    def work_s(self, number: int, chars: int, *, cold: bool = False) -> float:
        """Seconds that the work of this number takes once it has its slot."""
        return (
            self.delay_s
            + self.delay_per_char_s * chars
            + self.jitter_s * unit(self.seed, _JITTER, number)
            + (self.cold_extra_s if cold else 0.0)
            + (self.slow_extra_s if number in self.slow_numbers else 0.0)
        )

    def fails(self, number: int) -> bool:
        """Whether the work of this number ends with ``error_status``."""
        return number in self.error_numbers or unit(self.seed, _FAILURE, number) < self.error_share

    def through_s(self, begun_s: float, work_s: float) -> float:
        """When work that began at ``begun_s`` is done: it stands still while the service is frozen.

        Both times are seconds since the moment from which the freeze counts.
        """
        done_s = begun_s + work_s
        thaws_s = self.frozen_from_s + self.frozen_for_s
        if begun_s >= thaws_s or done_s < self.frozen_from_s or self.frozen_for_s <= 0:
            return done_s
        return done_s + thaws_s - max(begun_s, self.frozen_from_s)
