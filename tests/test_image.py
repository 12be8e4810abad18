"""The container image: what can be known of it without building it, which CI does."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from fer_lightning.cli.main import COMMANDS
from fer_lightning.cli.predict import parse

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "docker"
TEXT = (FOLDER / "Dockerfile").read_text()


def test_only_what_is_in_the_repository_reaches_the_image():
    """Data, runs and recordings are not sent to the daemon; what the wheel and pip read is."""
    everything, *allowed = [line for line in (FOLDER / "Dockerfile.dockerignore").read_text().split("\n")[1:] if line]
    assert everything == "*"
    sent = {line[1:] for line in allowed if line.startswith("!")}
    assert {path for path in sent if not (ROOT / path).exists()} == set()
    assert sent == {
        *("LICENSE", "README.md", "data_modules", "experiments", "fer_lightning"),
        *("pyproject.toml", "requirements"),
    }
    assert all((ROOT / path[1:]).is_file() for path in re.findall(r" -r (/requirements/\S+)", TEXT))


def test_it_does_not_run_as_root():
    users = re.findall(r"^USER (\S+)$", TEXT, re.MULTILINE)
    assert users
    assert users[-1].split(":")[0] not in ("0", "root")


def test_what_ci_asks_of_it_is_a_command_of_this_version(monkeypatch):
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["image"]
    assert job["strategy"]["matrix"]["device"] == ["cpu", "cuda"]
    assert re.findall(r"^FROM \S+ AS (cpu|cuda)$", TEXT, re.MULTILINE) == ["cpu", "cuda"]
    (line,) = [step["run"] for step in job["steps"] if "docker run" in step.get("run", "")]
    command, *arguments = line.partition('"fer_lightning:$DEVICE"')[2].split()
    assert command in COMMANDS
    monkeypatch.chdir(ROOT / "docs")
    request, missing = parse(arguments)
    assert missing == []
    assert [path.name for path in request.videos] == ["prediction.jpg"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    assert subprocess.run(["hadolint", FOLDER / "Dockerfile"], capture_output=True, text=True).stdout == ""
