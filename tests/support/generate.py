"""The parts of the documentation that are made from the code. Writes them: ``python -m tests.support.generate``."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import options
from benchmarks.options import (
    PRESETS,
    ApiLatencyOptions,
    BenchOptions,
    LlmOptions,
    SynthesisOptions,
)
from benchmarks.options_rules import _PRESET, _TEMPLATE, API_LATENCY, BENCH, LLM, SYNTHESIS
from probes.cloud.policy import policy_page
from probes.config import AwsOptions, Intervals, Settings, Ssh, Thresholds, TriageOptions, settings
from probes.config.aws import AWS, Ip
from probes.config.build import _INTERVALS, _SSH, _THEME, _THRESHOLDS
from probes.config.hosts import _HOST, _SERVICE
from probes.config.schema import Choice, Flag, ListOf, Number, Rule, Table, Text, one_of, shown
from probes.config.triage import TRIAGE

if TYPE_CHECKING:
    from types import ModuleType

    import msgspec

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
IAM_POLICY = ROOT / "docs" / "iam-policy.md"
SECTIONS = {"app": "everywhere", "grid": "in lists", "fleet": "fleet", "host": "host", "matrix": "matrix"}
SIGNS = {
    "question_mark": "?", "colon": ":", "slash": "/", "less_than_sign": "<", "greater_than_sign": ">",
    "exclamation_mark": "!", "plus": "+", "minus": "-", "equals_sign": "=", "comma": ",", "full_stop": ".",
    "left_square_bracket": "[", "right_square_bracket": "]", "pageup": "page up", "pagedown": "page down",
    "escape": "esc", "space": "space", "number_sign": "#", "asterisk": "*",
}  # fmt: skip


def keys_table() -> str:
    """README's table of keys."""
    from tui.keys import KEYS

    lines = ["| key | where | what | name |", "|---|---|---|---|"]
    for key in KEYS:
        signs = " ".join(f"`{SIGNS.get(one, one)}`" for one in key.keys.split(","))
        where = SECTIONS.get(key.section, key.section)
        lines.append(f"| {signs} | {where} | {key.description} | `{key.id}` |")
    return "\n".join(lines) + "\n"


def between(text: str, name: str) -> str:
    """What stands between the markers ``<!-- name -->`` and ``<!-- /name -->``."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert found, f"the markers of {name}"
    return found[1]


def with_keys(readme: str) -> str:
    """README with the table of keys put in."""
    return readme.replace(
        f"<!-- keys -->\n{between(readme, 'keys')}<!-- /keys -->", f"<!-- keys -->\n{keys_table()}<!-- /keys -->"
    )


def field_docs(module: ModuleType = settings) -> dict[str, dict[str, str]]:
    """The docstring under each field of the types of a module."""
    found: dict[str, dict[str, str]] = {}
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    for struct in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        fields = found.setdefault(struct.name, {})
        for above, below in zip(struct.body, struct.body[1:], strict=False):
            if (
                isinstance(above, ast.AnnAssign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                fields[above.target.id] = " ".join(below.value.value.split()).replace("``", "`")
    return found


def wanted(rule: Rule) -> str:
    """What a rule accepts, in words."""
    if isinstance(rule, Number):
        return f"{'whole number' if rule.whole else 'number'}, {rule.bounds()}"
    if isinstance(rule, Flag):
        return "`true`, `false`"
    if isinstance(rule, Text | Ip):
        return rule.expected
    if isinstance(rule, Choice):
        return ", ".join(f"`{shown(value)}`" for value in rule.values)
    assert isinstance(rule, ListOf)
    return rule.what


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return "`[" + ", ".join(shown(item) for item in value) + "]`"
    return f"`{shown(value)}`"


def _table(table: Table, struct: msgspec.Struct, module: ModuleType = settings) -> str:
    docs = field_docs(module)[type(struct).__name__]
    lines = ["| option | default | accepted | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {_default(getattr(struct, name))} | {wanted(table.fields[name])} | {docs[name]} |"
        for name in struct.__struct_fields__
        if name in docs
    ]
    return "\n".join(lines)


def _names(table: Table) -> str:
    return one_of([f"`{name}`" for name in table.fields])


def configuration_page() -> str:
    """docs/configuration.md."""
    theme = field_docs()[Settings.__name__]
    theme_rows = "\n".join(
        f"| `{name}` | `{default}` | {wanted(_THEME.fields[name])} | {theme[field]} |"
        for name, field, default in (("name", "theme", '"dark"'), ("utc", "utc", "false"), ("ascii", "ascii", '"auto"'))
    )
    return f"""# Configuration

<!-- made by `python -m tests.support.generate` from probes/config; a test holds it equal -->

One TOML file with `schema = 1` at its top. The first of these that there is: `--config FILE`, `$QUARTERDECK_CONFIG`,
`./config.toml` if it carries `schema = 1`, `$XDG_CONFIG_HOME/quarterdeck/config.toml`. A file that is named must exist.
[config.toml](../config.toml) is the same with comments and examples; `quarterdeck config init` writes it for you.

Every mistake is one line: the file, the key, what is wrong, what is expected; `quarterdeck config check` shows all of
them. Lists are counted from 0: `hosts[2]` is the third. An option that is not known is a mistake, too.

A path that starts with `~` is below your home; other relative paths are relative to the folder of the file.

## `[[hosts]]`

What is watched; without any, this machine. Options: {_names(_HOST)}. Only `id` is needed; `address` is the id where it
is left out, and what else is left out comes from ssh_config. `proxy_jump = "none"` overrides a ProxyJump there. An
`address` may be an alias of ssh_config. `local = true` is this machine and takes no SSH options.

`labels` are free words. A host asks before a benchmark loads it where a label says production, as `env = "production"`
or `production = "true"`, or a group is called so. A diagnosis compares three labels with what DNS and AWS say:

| label | meaning |
|---|---|
| `region` | The AWS region the host is in: there it is asked about, and an EC2 reverse name of another region is a finding. |
| `instance_id` | The EC2 instance it should be, such as `i-0123456789abcdef0`: an address that leads to another is a finding. |
| `address` | The IP address it should have; several are separated by commas. A name that resolves to another is a finding. |

## `[[services]]`

Ports that are probed on the hosts whose `services` name them; a host's `services` may also hold whole tables. Options:
{_names(_SERVICE)}.

| kind | checked once the port is open | port | default path |
|---|---|---|---|
{_kinds()}

`expect = {{ status = 200, json = {{ status = "healthy" }} }}` says what healthy is. `status` is a number, a range such as
`"200-299"`, or a list of these. `json` maps fields of the answer (`"a.b"` or nested tables for fields inside fields) to
the value, or the list of values, they may have. Redirects are not followed. What is not given keeps the kind's meaning;
its JSON field, however, is expected at the kind's own path only (behind any prefix).

`pin` is the certificate that a service with `tls = true` should present, by its SHA-256 fingerprint: 64 hexadecimal
digits, with or without `SHA256:` and colons, as a diagnosis or `openssl x509 -noout -fingerprint -sha256` shows it. A
diagnosis calls another one *not your host*. It is compared besides the verification: a self-signed one needs
`tls_verify = false` as well.

## `[thresholds]`

{_table(_THRESHOLDS, Thresholds())}

A warning must be below what is critical.

## `[intervals]`

All in seconds.

{_table(_INTERVALS, Intervals())}

`sample_s` must be below `stale_s`, and `stale_s` below `silence_s`.

## `[ssh]`

{_table(_SSH, Ssh())}

## `[theme]`

| option | default | accepted | meaning |
|---|---|---|---|
{theme_rows}

`$NO_COLOR` means `mono`.

## `[keys]`

Other keys for an action: `faults = "F"`, several separated by commas. The names are in the README's table of keys. A
key that is bound here is taken from the action that had it. It is a character, or a name such as `f5`, `ctrl+r`,
`escape`, `pageup` or `comma`.

## `[triage]`

{_table(TRIAGE, TriageOptions())}

## `[aws]`

{_table(AWS, AwsOptions())}

When a host is diagnosed, AWS is asked about it with the credentials that the AWS command line uses; without any, what
AWS would say is *unknown*, and the diagnosis goes on. [iam-policy.md](iam-policy.md) is the least permission needed.
`allow_ssm` lets a script run on the host as root; it only reads, but `ssm:SendCommand` is a permission for more.

## `[bench]`

{_table(BENCH, BenchOptions(), options)}

What a run was asked for stands in its result. A secret has no place here: where one is needed, `"$NAME"` names the
environment variable that has it.

### `[bench.synthesis]`

{_table(SYNTHESIS, SynthesisOptions(), options)}

`[bench.synthesis.templates.NAME]` describes a speech service of another kind: {_names(_TEMPLATE)}. Only `path` is
needed. `{{text}}` and `{{style}}` are filled in. `audio` is `"body"` for a WAV body, else the JSON field (dots for fields
inside fields) that has it as base64.

### `[bench.api-latency]`

{_table(API_LATENCY, ApiLatencyOptions(), options)}

### `[bench.llm]`

{_table(LLM, LlmOptions(), options)}

### `[bench.command.presets.NAME]`

A command to be run on hosts: {_names(_PRESET)}.
Only `command`, a text for `/bin/sh`, is needed. `expect_stdout` must be in its output, or match where it is `re:` and a
pattern. `akios` and `akios-startup` are there without being written:

| preset | command | variables |
|---|---|---|
{_presets()}

### `[bench.ladders.BENCHMARK.METRIC]`

The boundaries of the letters, `s`, `a`, `b` and `c`, all inclusive and in the metric's unit; beyond `c` it is D.
`quarterdeck bench list` shows the metrics and the boundaries that hold without this.

### `[bench.kpi.BENCHMARK]`

Targets for the KPI table: a metric and what it should reach.

### `[bench.projections."INSTANCE TYPE"]`

What was projected for an instance type: a metric and its figure. What is measured there is compared with it.
"""


def _presets() -> str:
    return "\n".join(
        f"| `{name}` | `{preset.command}` | {', '.join(f'`{key}={value}`' for key, value in preset.env.items())} |"
        for name, preset in PRESETS.items()
    )


def _kinds() -> str:
    from probes.config.commands import _ranges
    from probes.config.hosts import KIND_DEFAULTS

    rows = []
    for kind, (port, path, expect) in KIND_DEFAULTS.items():
        healthy = []
        if path:
            healthy.append("`GET` answers " + ", ".join(str(code) for code in _ranges(expect.status)))
        healthy += [
            f"JSON field `{name}` is {one_of([shown(v) for v in values])}" for name, values in expect.json.items()
        ]
        told = "; ".join(healthy) or ("the state of the live SSH session" if kind == "ssh" else "nothing more")
        rows.append(f"| `{kind}` | {told} | {port or 'needed'} | {f'`{path}`' if path else ''} |")
    return "\n".join(rows)


if __name__ == "__main__":
    README.write_text(with_keys(README.read_text("utf-8")), "utf-8")
    CONFIGURATION.write_text(configuration_page(), "utf-8")
    IAM_POLICY.write_text(policy_page(), "utf-8")
