"""The synthesis benchmark as it is listed: its metrics, its ladder, its parameters."""

from __future__ import annotations

from typing import Final

from benchmarks.benchmark import Definition, Parameter
from benchmarks.model import Ladder, Metric
from benchmarks.synthesis.planning import ID, PARAMETERS, plan
from benchmarks.synthesis.run import Synthesis

METRICS: Final = (
    Metric("audio_s", "s", "higher", "frames / rate of the data chunk", "audio"),
    Metric("rtf", "s/s", "lower", "service_time / audio_s", "real-time factor"),
    Metric("rtfx", "s/s", "higher", "audio_s / service_time", "inverse real-time factor"),
    Metric("query_time", "s", "lower", "end of audio_query's answer - send", "audio_query"),
    Metric("synthesis_time", "s", "lower", "end of synthesis's answer - its send", "synthesis"),
    Metric("ttfa", "s", "lower", "first PCM byte after the header - send", "first audio"),
    Metric("seconds_per_character", "s", "lower", "service_time / characters of the text", "per character"),
    Metric("rtf_total", "s/s", "lower", "sum of service_time / sum of audio_s", "real-time factor, total", "run"),
    Metric("rtfx_total", "s/s", "higher", "sum of audio_s / wall", "audio made per second", "run"),
)
#: seconds to the whole audio of one fixed text
LADDER: Final = Ladder("response_time", "s", s=1.0, a=2.0, b=5.0, c=10.0)

#: what a request has fields of its own for, for the form on the screen
_OF_A_REQUEST: Final = (
    Parameter("service", "service", "text", help="which service of the host; needed where several can speak"),
    Parameter("text", "text", "text", "the fixed texts", help="a text of your own in their place"),
    Parameter("style", "style", "text", "the service's first", help="a style's id, or a profile's name"),
    Parameter("url", "URL", "text", help="a base URL in place of a configured service"),
)

DEFINITION: Final = Definition(
    id=ID,
    version=1,
    title="Speech synthesis",
    summary="How long a speech service takes for fixed texts, and whether what it sends is that text spoken",
    metrics=METRICS,
    ladders=(LADDER,),
    plan=plan,
    make=Synthesis,
    parameters=(*_OF_A_REQUEST, *PARAMETERS),
)
