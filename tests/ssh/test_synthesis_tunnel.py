"""Synthesis where the port is not reachable from outside: through SSH, said in the preflight with the tunnel's latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.benchmark import Request
from benchmarks.model import Outcome
from benchmarks.synthesis.definition import DEFINITION
from benchmarks.ways import RunContext
from probes.config import Settings
from probes.config.settings import Intervals, Ssh
from probes.demo.voices import Behaviour, OpenAi, Voicevox, serve
from probes.model import Service, ServiceKind
from tests.support.leaks import open_sockets, other_tasks, until
from tests.support.sshd import FakeHost, Keys

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.5"  # what listens on 127.0.0.1 is its localhost, closed from outside


async def test_a_voice_behind_ssh(tmp_path: Path) -> None:
    tasks, sockets = other_tasks(), open_sockets()
    async with serve(Voicevox()) as voice, serve(OpenAi(Behaviour(first_audio_s=0.05), models=("tts-1",))) as speech:
        async with FakeHost(tmp_path, Keys(tmp_path), address=HOST) as fake:
            fake.forward = True
            services = (
                Service("voicevox", voice.port, ServiceKind.VOICEVOX),
                Service("speech", speech.port, ServiceKind.OPENAI),
            )
            host = fake.host(services=services)
            settings = Settings(hosts=(host,), ssh=Ssh(config_files=(), agent=False), intervals=Intervals(tcp_s=1.0))
            async with RunContext(host, settings) as context:
                for spec in DEFINITION.plan(Request("synthesis", mode="check"), host, {}):
                    run = DEFINITION.make(spec, context)
                    found = await run.preflight()
                    assert found.endpoint.startswith(f"http://{HOST}:")
                    assert found.via == "ssh_tunnel"
                    assert found.tunnel_ms is not None
                    await run.prepare()
                    done = await run.once(0, 0)
                    await run.cleanup()
                    assert done.outcome is Outcome.OK, done.detail
                    assert done.values["audio_s"] == 0.625
                    # a stream keeps its spacing through the tunnel
                    assert ("ttfa" in done.values) is (spec.service == "speech")
    await until(lambda: other_tasks() <= tasks and open_sockets() <= sockets)
