"""The lock has what pyproject.toml asks for, with digests, and `make setup` installs it."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = "requirements/locked.txt"
DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}$")


def entries(file: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of a file, each with the options that follow it."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if not line.lstrip().startswith("#")]
    found = [re.split(r" (?=--hash)", entry) for entry in re.sub(r" \\\n +", " ", "\n".join(lines)).splitlines()]
    return [(Requirement(text), options) for text, *options in found if not text.startswith("--")]


@pytest.fixture(scope="module")
def locked() -> dict[str, list[Version]]:
    versions: dict[str, list[Version]] = {}
    for requirement, _ in entries(LOCK):
        version = Version(str(requirement.specifier).removeprefix("=="))
        versions.setdefault(canonicalize_name(requirement.name), []).append(version)
    return versions


def asked_for() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (text for texts in project["optional-dependencies"].values() for text in texts)
    return [Requirement(text) for text in (*project["dependencies"], *extras)]


@pytest.mark.parametrize("requirement", asked_for(), ids=lambda requirement: requirement.name)
def test_what_is_asked_for_is_locked_at_a_version_that_is_allowed(locked, requirement):
    versions = locked[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version) for version in versions), versions


def test_every_version_is_pinned_with_digests_and_comes_from_no_address(locked):
    found = entries(LOCK)
    assert len(locked) > 100
    for requirement, options in found:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert requirement.url is None, requirement
        assert options, requirement
        assert all(DIGEST.match(option) for option in options), requirement
    assert "//" not in (ROOT / LOCK).read_text()


def test_one_build_of_opencv_is_locked_and_it_is_the_pinned_one(locked):
    [(pinned, _)] = entries("requirements/opencv.txt")
    assert [str(pinned.specifier)] == [f"=={version}" for version in locked[pinned.name]]
    desktop = [requirement.marker for requirement, _ in entries(LOCK) if requirement.name == "opencv-python"]
    assert not any(marker is None or marker.evaluate() for marker in desktop)


def test_licences_are_ignored_of_locked_packages_alone(locked):
    ignored = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pip-licenses"]["ignore-packages"]
    assert set(ignored) <= set(locked)


@pytest.mark.parametrize(
    ("arguments", "is_locked"),
    [([], True), (["LOCK="], False), (["EXTRAS=dev"], False), (["EXTRAS=dev", "LOCK=a"], True)],
)
def test_setup_installs_the_lock_unless_told_otherwise(tmp_path, arguments, is_locked):
    command = ["make", "--dry-run", "setup", f"VENV={tmp_path / 'venv'}", *arguments]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    file = "a" if "LOCK=a" in arguments else LOCK
    assert (f"--no-deps --require-hashes -r {file}" in said) == is_locked
    assert ("--no-deps --editable ." in said) == is_locked
    assert ("--editable '.[" in said) != is_locked
