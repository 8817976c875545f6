"""Stand-ins of the speech and language services: for the tests of the benchmarks, and for ``quarterdeck demo``.

They share no code with the clients that measure them. A stand-in is a service (``Voicevox``, ``OpenVoice``, ...) with a
``Behaviour`` that can be changed while it runs::

    async with serve(Voicevox(Behaviour(delay_s=0.05))) as running:
        ...  # requests to running.url
        running.service.behave(error_share=0.1)
"""

from probes.demo.voices.backend import Backend
from probes.demo.voices.behaviour import Behaviour
from probes.demo.voices.openai import OpenAi
from probes.demo.voices.openvoice import OpenVoice, Profile
from probes.demo.voices.pages import Pages, Stranger
from probes.demo.voices.running import Running, serve
from probes.demo.voices.server import Server
from probes.demo.voices.service import Service
from probes.demo.voices.voicevox import Style, Voicevox

__all__ = [
    "Backend",
    "Behaviour",
    "OpenAi",
    "OpenVoice",
    "Pages",
    "Profile",
    "Running",
    "Server",
    "Service",
    "Stranger",
    "Style",
    "Voicevox",
    "serve",
]
