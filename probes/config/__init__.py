"""The configuration: where the file is (``find``), what it says (``load``), and what holds without one.

Every mistake in it is one line, ``file: key: what is wrong; expected ...``, and all of them are shown at once.
"""

from probes.config.build import Actions, load
from probes.config.find import find, user_path
from probes.config.settings import (
    THEMES,
    AwsOptions,
    Intervals,
    Settings,
    Ssh,
    Thresholds,
    TriageOptions,
    default_settings,
    local_host,
)

__all__ = [
    "THEMES",
    "Actions",
    "AwsOptions",
    "Intervals",
    "Settings",
    "Ssh",
    "Thresholds",
    "TriageOptions",
    "default_settings",
    "find",
    "load",
    "local_host",
    "user_path",
]
