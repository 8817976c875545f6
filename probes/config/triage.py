"""The ``[triage]`` table."""

from __future__ import annotations

from typing import Any, Final

from probes.config.schema import BAD, ListOf, Report, Table, Text
from probes.config.settings import TriageOptions
from probes.reach.anchor import parse_anchor

_EXPECTED: Final = "host:port, an IPv6 address in brackets"


class _Anchor:
    """One ``host:port``."""

    expected = _EXPECTED

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        text = Text(_EXPECTED).check(value, key, report)
        if text is BAD:
            return BAD
        try:
            parse_anchor(text)
        except ValueError:
            report.add(key, f'"{text}" is no address with a port', _EXPECTED)
            return BAD
        return text


def _options(kept: dict[str, Any], _wrong: set[str], _key: str, _report: Report) -> TriageOptions:
    return TriageOptions(**kept)


TRIAGE: Final = Table({"anchors": ListOf(_Anchor(), "a list of host:port", max_len=8)}, finish=_options)
