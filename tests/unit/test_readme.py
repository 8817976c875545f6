"""README.md and docs/ say what is true: their commands, keys, options and examples are those of the code."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from probes.config import load
from probes.config.commands import check
from tests.support.generate import CONFIGURATION, README, ROOT, between, configuration_page, keys_table
from tui.cli import main

TEXT = README.read_text("utf-8")
HOW = "run: python -m tests.support.generate"


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def shown_commands() -> list[str]:
    """The ``quarterdeck ...`` lines of the shell blocks and the first column of the table of commands."""
    lines = [line for block in fenced("sh") for line in block.splitlines() if line.startswith("quarterdeck")]
    inline = re.findall(r"`(quarterdeck --[^`]+)`", TEXT)
    return sorted({" ".join(shlex.split(line, comments=True)) for line in [*lines, *inline]})


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    if not isinstance(command, click.Group):
        return {path: command}
    found = {path: command} if command.invoke_without_command else {}
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        sub = command.get_command(ctx, name)
        assert sub is not None
        assert sub.name == name
        found |= leaves(sub, (*path, name))
    return found


LEAVES = leaves(main)


def parse(words: list[str]) -> list[click.Context]:
    """Take a command line apart as click does, without running it."""
    contexts = [main.make_context("quarterdeck", list(words))]
    while isinstance(contexts[-1].command, click.Group):
        group, rest = contexts[-1].command, [*contexts[-1]._protected_args, *contexts[-1].args]
        if not rest:
            break
        name, command, rest = group.resolve_command(contexts[-1], rest)
        assert command is not None
        contexts.append(command.make_context(name, rest, parent=contexts[-1]))
    return contexts


def test_enough_commands_are_shown():
    assert len(shown_commands()) >= 5


@pytest.mark.parametrize("line", shown_commands())
def test_commands_shown_are_understood(line):
    words = shlex.split(line)[1:]
    contexts = parse(words)
    assert not isinstance(contexts[-1].command, click.Group) or len(contexts) == 1


def test_a_wrong_command_would_be_noticed():
    with pytest.raises(click.UsageError):
        parse(["snapshoot"])
    with pytest.raises(click.UsageError):
        parse(["snapshot", "--no-such-option"])


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: " ".join(path) or "dashboard")
def test_every_command_and_option_is_documented(path):
    name = " ".join(("quarterdeck", *path))
    row = re.search(rf"^\| `{name}(?: [^`]*)?` \|.*$", TEXT, re.MULTILINE)
    assert row, f"{name} is missing in README's table of commands"
    where = row[0] if path else between_headings("## Commands", "## Configuration")
    for parameter in LEAVES[path].params:
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            long = next(option for option in parameter.opts if option.startswith("--"))
            assert long in where, f"{name} {long}"
            if isinstance(parameter.type, click.Choice):
                assert all(f"`{choice}`" in where or f"{long} {choice}" in where for choice in parameter.type.choices)
        elif isinstance(parameter, click.Argument) and isinstance(parameter.type, click.Choice):
            assert all(f"`{choice}`" in where for choice in parameter.type.choices)


def test_the_table_names_only_commands_that_exist():
    rows = re.findall(r"^\| `quarterdeck ?([^`\[]*?)`? ?(?:\[[^`]*`|SHELL`)? ?\|", TEXT, re.MULTILINE)
    named = {tuple(word for word in row.split() if word.islower()) for row in rows}
    assert named == set(LEAVES)


def between_headings(first: str, second: str) -> str:
    return TEXT[TEXT.index(first) : TEXT.index(second)]


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: " ".join(path) or "dashboard")
def test_help_of_every_command(path):
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--version"], "quarterdeck "),
        (["config", "path"], "none"),
        (["config", "check"], "defaults"),
        (["config", "show"], 'id = "localhost"'),
        (["config", "show", "--format", "json"], '"localhost"'),
        (["config", "init"], "written"),
        (["bench", "list"], "api-latency: API latency"),
        (["bench", "list", "--json"], '"api-latency"'),
        (["bench", "list-runs"], "no run fits"),
        (["bench", "list-runs", "--json"], "[]"),
        (["completion", "bash"], "_QUARTERDECK_COMPLETE"),
        (["completion", "zsh"], "_QUARTERDECK_COMPLETE"),
        (["completion", "fish"], "_QUARTERDECK_COMPLETE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_commands_that_end_by_themselves(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("QUARTERDECK_CONFIG", raising=False)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert said in result.output


# --- what is generated ---


def test_the_table_of_keys_is_that_of_the_code():
    assert between(TEXT, "keys") == keys_table(), HOW


def test_the_page_of_options_is_that_of_the_code():
    assert CONFIGURATION.read_text("utf-8") == configuration_page(), HOW


# --- examples ---


def test_the_example_configuration_works(tmp_path):
    (block,) = fenced("toml")
    path = tmp_path / "config.toml"
    path.write_text(block)
    (host,) = load(path).hosts
    assert {service.name for service in host.services} == {"ssh", "voicevox", "backend"}


def test_the_example_mistakes_are_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = fenced("text")
    (tmp_path / "config.toml").write_text(
        'schema = 1\n[[hosts]]\nid = "a"\nport = 70000\n[[hosts]]\nid = "b"\n[[hosts]]\nid = "c"\nadress = "x"\n'
    )
    from pathlib import Path

    for said, real in zip(block.splitlines(), check(Path("config.toml")), strict=True):
        assert said == real or (said.endswith("...") and real.startswith(said.removesuffix("...")))


@pytest.mark.parametrize("name", ["set-up", "tests"])
def test_each_set_up_is_one_command(name):
    lines = between(TEXT, name).splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("```sh", "```", 3)
    assert lines[1].startswith("python3 -m venv --without-pip .venv && ")


def test_links_lead_somewhere():
    for page in (README, CONFIGURATION, ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
