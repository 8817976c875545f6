"""The repository's own files fit together."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci" / "run").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK_TEXT = (ROOT / "uv.lock").read_text("utf-8")
#: what conftest tells from the machine, not from a program
CONDITIONS = {"root", "netns", "captures"}


def requirement(text: str) -> tuple[str, str]:
    """Name and version bounds, without extras and spaces, the bounds in a fixed order."""
    found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(.*)", text)
    assert found
    return found[1].lower(), ",".join(sorted(found[2].replace(" ", "").split(",")))


def test_the_lockfile_is_of_this_project_file():
    (own,) = [
        package for package in tomllib.loads(LOCK_TEXT)["package"] if package["name"] == PROJECT["project"]["name"]
    ]
    for locked, wanted in (
        (
            [entry for entry in own["metadata"]["requires-dist"] if "marker" not in entry],
            PROJECT["project"]["dependencies"],
        ),
        (
            [entry for entry in own["metadata"]["requires-dist"] if entry.get("marker") == "extra == 'dev'"],
            PROJECT["project"]["optional-dependencies"]["dev"],
        ),
    ):
        assert {requirement(f"{entry['name']}{entry.get('specifier', '')}") for entry in locked} == {
            requirement(text) for text in wanted
        }
    assert tomllib.loads(LOCK_TEXT)["requires-python"] == PROJECT["project"]["requires-python"]


def test_the_lockfile_names_only_the_public_index():
    hosts = set(re.findall(r"[a-z+]+://[^/\"\s]+", LOCK_TEXT))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}


def test_ci_installs_every_program_a_test_needs():
    package = re.search(r"declare -A package=\((.*?)\n\)", CI, re.DOTALL)
    assert package
    installed = set(re.findall(r"\[([a-z0-9-]+)\]=", package[1])) | {"cc"}  # gcc brings cc
    needed: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for words in re.findall(r"mark\.needs\(([^)]*)\)", path.read_text("utf-8")):
            needed |= set(re.findall(r"[\"']([^\"']+)[\"']", words))
    assert needed - CONDITIONS <= installed


def test_ci_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_reference_configuration_travels_with_the_wheel():
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "config.toml": "probes/reference.toml"
    }
    assert "config.toml" in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
