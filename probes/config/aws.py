"""The ``[aws]`` table, and the labels of a host that AWS and DNS are compared with."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Final

from probes.config.schema import BAD, Flag, Report, Rule, Table, Text, join, shown
from probes.config.settings import AwsOptions

_REGION: Final = Text(
    "the name of a region, such as ap-northeast-1", re.compile(r"|[a-z]+(?:-[a-z]+)+-\d{1,2}"), 32, empty=True
)
_INSTANCE: Final = Text(
    "an instance id, such as i-0123456789abcdef0", re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})"), 19
)


class Ip:
    """An IP address. ``many``: several separated by spaces or commas; ``empty`` may be left empty."""

    def __init__(self, *, many: bool = False, empty: bool = False) -> None:
        self._many = many
        self._text = Text("an IP address" + (", several separated by commas" if many else ""), empty=empty)
        self.expected = self._text.expected

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        text = self._text.check(value, key, report)
        if text is BAD or not text:
            return text
        for part in text.split(",") if self._many else [text]:
            try:
                ip_address(part.strip())
            except ValueError:
                report.add(key, f"{shown(part.strip())} is not an IP address", self.expected)
                return BAD
        return text


def _options(kept: dict[str, Any], _wrong: set[str], _key: str, _report: Report) -> AwsOptions:
    return AwsOptions(**kept)


AWS: Final = Table(
    {
        "enabled": Flag(),
        "profile": Text("the name of a profile", max_len=128, empty=True),
        "region": _REGION,
        "my_address": Ip(empty=True),
        "ask_my_address": Flag(),
        "allow_ssm": Flag(),
    },
    finish=_options,
)

#: labels that are compared with what DNS and AWS say; ``region`` is too, but hosts outside AWS have regions as well
KNOWN_LABELS: Final[dict[str, Rule]] = {"instance_id": _INSTANCE, "address": Ip(many=True)}


class Labels:
    """Free words, except that a label AWS and DNS are compared with must be one of theirs."""

    def __init__(self, words: Rule) -> None:
        self._words = words

    def check(self, value: Any, key: str, report: Report) -> Any:
        """See ``Rule``."""
        kept = self._words.check(value, key, report)
        if kept is not BAD:
            for name, rule in KNOWN_LABELS.items():
                if name in kept:
                    rule.check(kept[name], join(key, name), report)
        return kept
