"""Where hosts come from: the configuration, ssh_config aliases, and what is typed."""

from probes.inventory.ssh_config import Aliases, read_aliases
from probes.inventory.targets import Target, parse_target, resolve_targets

__all__ = ["Aliases", "Target", "parse_target", "read_aliases", "resolve_targets"]
