"""A running synthesis benchmark: one text, spoken again and again by one service, and every answer listened to."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from msgspec import structs

from benchmarks.benchmark import Preflight
from benchmarks.client import CallFailed, Client
from benchmarks.errors import BenchError, NotMeasurableError
from benchmarks.model import Done, Outcome, Side
from benchmarks.options import options_of
from benchmarks.synthesis import backend, template
from benchmarks.synthesis.audio import NotAudioError
from benchmarks.synthesis.bodies import examine
from benchmarks.synthesis.openvoice import OpenVoice
from benchmarks.synthesis.planning import TEMPLATE
from benchmarks.synthesis.speaker import WHOLE_FILE, Wishes, behind
from benchmarks.synthesis.speech import Speech
from benchmarks.synthesis.texts import DIFFERENT, body_limit, check_sound
from benchmarks.synthesis.voicevox import Voicevox
from probes.model import ServiceKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.context import Context, Endpoint
    from benchmarks.model import RunSpec, Sample
    from benchmarks.synthesis.audio import Sound
    from benchmarks.synthesis.speaker import Speaker, Spoken
    from probes.model import Service

#: where the health check of each kind lives, behind whatever prefix
_OWN_PATHS = {"voicevox": "/version", "openvoice": "/health", "openai": "/v1/models"}
_NOT_COMPARED = "not checked whether audio differs by text: another text would have loaded the style"
_SAME = "the same audio as for another text: is it a recording?"


class Synthesis:
    """See ``Benchmark``."""

    def __init__(self, spec: RunSpec, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._stack = AsyncExitStack()
        self._speed = float(spec.options.get("speed", 1.0))
        self._speaker: Speaker | None = None
        self._found: Preflight | None = None
        self._secrets: tuple[str, ...] = ()
        #: what other texts sound like: fingerprint to text
        self._others: dict[str, str] = {}

    # --- before ---

    async def preflight(self) -> Preflight:
        """See ``Benchmark``. A cold run ends here where it would not be cold."""
        service = self._service()
        endpoint = await self._context.endpoint(service, self._spec.url)
        speaker = await self._connect(service, endpoint)
        try:
            found = await speaker.discover()
            if self._spec.temperature == "cold":
                await _be_cold(speaker)
                found = structs.replace(found, notes=(*found.notes, _NOT_COMPARED))
        except CallFailed as failed:
            raise self._cannot(failed) from None
        self._speaker = speaker
        self._found = Preflight(
            endpoint=endpoint.base_url,
            server_version=found.server_version,
            device_claimed=found.device_claimed,
            via="ssh_tunnel" if endpoint.via == "ssh_tunnel" else "direct",
            tunnel_ms=endpoint.tunnel_ms,
            notes=found.notes,
            missing=found.missing,
        )
        return self._found

    async def prepare(self) -> Preflight | None:
        """See ``Benchmark``: load the voice, and hear whether two texts sound different. Not for a cold run.

        A service that fails here on its own side is measured all the same: its failures are the result.
        """
        if self._found is None or self._spec.temperature == "cold":
            return None
        notes = list(self._found.notes)
        try:
            note = await self._ready().make_warm()
        except CallFailed as failed:
            if failed.side is Side.CLIENT:
                raise self._cannot(failed) from None
            note = f"the voice could not be loaded before the run: {self._safe(failed.detail)}"
        if note:
            notes.append(note)
        missing = dict(self._found.missing)
        notes.append(await self._hear_others(missing))
        return structs.replace(self._found, notes=tuple(notes), missing=missing)

    async def _hear_others(self, missing: dict[str, str]) -> str:
        """Say other texts (one for a check, else two), and compare; what came of it in words."""
        own = self._spec.case.text
        texts = [text for text in DIFFERENT if text != own]
        for text in texts[:1] if self._spec.load.mode == "check" else texts:
            try:
                spoken = await self._ready().speak(text)
                sound = await examine(spoken)
            except CallFailed as failed:
                if failed.side is Side.CLIENT:
                    raise self._no_speech(failed) from None
                return f"not checked whether audio differs by text: {self._safe(failed.detail)}"
            except NotAudioError as error:
                return f"not checked whether audio differs by text: {self._safe(str(error))}"
            if spoken.first_audio_ns is None:
                missing.setdefault("ttfa", WHOLE_FILE)
            if sound.fingerprint in self._others:
                step = "look at the service: it may play its reference recording"
                raise BenchError(f"two texts have {_SAME}", layer="service", next_step=step)
            self._others[sound.fingerprint] = text
        return f"audio must differ by text: compared with that of {len(self._others)} other text(s)"

    # --- measured ---

    async def once(self, i: int, intended_ns: int) -> Done:
        """See ``Benchmark``."""
        del i, intended_ns
        text = self._spec.case.text
        try:
            spoken = await self._ready().speak(text)
        except CallFailed as failed:
            return structs.replace(failed.done(), detail=self._safe(failed.detail))
        except NotAudioError as error:
            return Done(Outcome.INVALID_BODY, detail=self._safe(str(error)))
        try:
            sound = await examine(spoken)
            check_sound(sound, text, self._speed)
            self._check_own(sound, text)
        except NotAudioError as error:
            return Done(
                Outcome.INVALID_BODY,
                spans=spoken.spans,
                sent_ns=spoken.sent_ns,
                end_ns=spoken.end_ns,
                detail=self._safe(str(error)),
            )
        return Done(
            values=values_of(spoken, sound, text),
            spans=spoken.spans,
            sent_ns=spoken.sent_ns,
            end_ns=spoken.end_ns,
            fingerprint=sound.fingerprint,
        )

    def totals(self, samples: Sequence[Sample], window_s: float) -> Mapping[str, float | None]:
        """See ``Benchmark``."""
        return totals_of(samples, window_s)

    async def cleanup(self) -> None:
        """See ``Benchmark``: close the connections. Services are left as they are."""
        await self._stack.aclose()

    # --- parts ---

    def _check_own(self, sound: Sound, text: str) -> None:
        """Whether another text sounded the same before."""
        if self._others.get(sound.fingerprint, text) != text:
            raise NotAudioError(_SAME)

    def _ready(self) -> Speaker:
        if self._speaker is None:
            raise RuntimeError("preflight comes first")
        return self._speaker

    def _service(self) -> Service | None:
        name = self._spec.service
        if name is None:
            return None
        service = next((service for service in self._context.host.services if service.name == name), None)
        if service is None:
            raise BenchError(f"{self._context.host.id} has no service {name}", layer="plan", side=Side.CLIENT)
        return service

    async def _connect(self, service: Service | None, endpoint: Endpoint) -> Speaker:
        spec, options = self._spec, self._spec.options
        kind = str(options["kind"])
        chosen: template.Template | None = None
        headers: dict[str, str] = {}
        if kind == TEMPLATE:
            templates = options_of(self._context.settings.bench).synthesis.templates
            chosen = template.template_of(templates, str(options["template"]))
            headers = template.headers_of(chosen)
            self._secrets = template.secrets_of(chosen)
        load = spec.load
        client = await self._stack.enter_async_context(
            Client(
                endpoint,
                concurrency=load.concurrency if load.rate_per_s is None else load.max_in_flight,
                timeout_s=load.timeout_s,
                max_bytes=body_limit(spec.case.text),
                headers=headers,
            )
        )
        wishes = Wishes(
            style=options.get("style"),
            language=str(options.get("language", "ja")),
            speed=self._speed,
            model=options.get("model") or None,
            format=str(options.get("format", "wav")),
        )
        if chosen is not None:
            return template.FromTemplate(client, chosen, wishes)
        return speaker_of(kind, str(options["through"]), client, _prefix(service, kind), wishes)

    def _cannot(self, failed: CallFailed) -> BenchError:
        """A service that does not answer before the run."""
        layer = "http" if failed.status is not None else "tcp"
        step = "is the service running? see quarterdeck diagnose" if failed.status is None else "see the service's log"
        return BenchError(self._safe(failed.detail), layer=layer, next_step=step, side=failed.side)

    def _no_speech(self, failed: CallFailed) -> BenchError:
        """A service that refuses the first text: nothing would come of the others."""
        if failed.status is None:
            return self._cannot(failed)
        said = self._safe(failed.detail)
        service = self._service()
        if failed.status == 404 and service is not None and service.kind is ServiceKind.OPENAI:
            # a language model: one of the services that are tried when nobody names one
            step = "it may be a language model: leave it to the benchmark for those"
            return NotMeasurableError(f"{service.name} has no /v1/audio/speech: {said}", next_step=step)
        step = "is it the right kind of service, way, style and model?"
        return BenchError(f"the service refuses to speak: {said}", layer="service", next_step=step, side=failed.side)

    def _safe(self, words: str) -> str:
        """Without the secrets of a template, should the service repeat them."""
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return words


def speaker_of(kind: str, way: str, client: Client, prefix: str, wishes: Wishes) -> Speaker:
    """The speaker of a kind of service and a way to it."""
    makers: dict[str, type[Voicevox | OpenVoice | Speech | backend.BackendVoicevox | Any]] = {
        "voicevox": Voicevox,
        "openvoice": OpenVoice,
        "openai": Speech,
        "backend-voicevox": backend.BackendVoicevox,
        "backend-unified": backend.BackendUnified,
        "backend-clone": backend.BackendClone,
    }
    return makers[way if kind == "backend" else kind](client, prefix, wishes)


def values_of(spoken: Spoken, sound: Sound, text: str) -> dict[str, float]:
    """The metrics of one answer, by their tags."""
    processing_s = (spoken.end_ns - spoken.sent_ns) / 1e9
    values = {
        "audio_s": sound.seconds,
        "rtf": processing_s / sound.seconds,
        "seconds_per_character": processing_s / len(text),
    }
    if processing_s > 0:
        values["rtfx"] = sound.seconds / processing_s
    for span in ("query", "synthesis"):
        if span in spoken.spans:
            values[f"{span}_time"] = spoken.spans[span]
    if spoken.first_audio_ns is not None:
        values["ttfa"] = (spoken.first_audio_ns - spoken.sent_ns) / 1e9
    return values


def totals_of(samples: Sequence[Sample], window_s: float) -> dict[str, float | None]:
    """The run's real-time factors over the answers that were right; None without any."""
    good = [sample for sample in samples if sample.outcome is Outcome.OK]
    audio_s = sum(sample.values["audio_s"] for sample in good)
    processing_s = sum((sample.end_ns - sample.start_ns) / 1e9 for sample in good)
    return {
        "rtf_total": processing_s / audio_s if audio_s > 0 else None,
        "rtfx_total": audio_s / window_s if audio_s > 0 and window_s > 0 else None,
    }


async def _be_cold(speaker: Speaker) -> None:
    warm = await speaker.is_warm()
    if warm is None:
        raise NotMeasurableError(
            "cold: this engine does not tell whether a style is loaded", next_step="see the warm run"
        )
    if warm:
        step = "restart the engine yourself to measure it cold"
        raise NotMeasurableError("cold: the style was loaded before this run", next_step=step)


def _prefix(service: Service | None, kind: str) -> str:
    """What stands before the paths of a service behind a proxy. The path of a URL is the client's affair."""
    if service is None:
        return ""
    if kind == "backend":
        before, found, _ = (service.path or "").partition("/api/")
        return before if found else ""
    return behind(service.path, _OWN_PATHS[kind])
