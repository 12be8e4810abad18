"""What a run says of the code that made it."""

import subprocess

import pytest

from fer_lightning.runs import folder
from fer_lightning.runs.folder import commit


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the code of this module, committed."""
    for name in ("fer_lightning/runs/folder.py", "data_modules/labels.py", "experiments/base.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for arguments in (["init"], ["add", "."], [*author, "commit", "-m", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "fer_lightning" / "runs" / "folder.py"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("fer_lightning/runs/folder.py", True),
        ("fer_lightning/new.py", True),
        ("data_modules/labels.py", True),
        ("experiments/systems/mine.yaml", True),
        ("results/ceflnet_6/sal.json", False),
        ("experiments/README.md", False),
        ("README.md", False),
        ("notes.txt", False),
    ],
)
def test_only_changes_of_what_decides_results_count(repository, name, changed):
    made = commit()
    assert made
    assert not made.endswith("+changes")
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text("two")
    assert commit() == made + ("+changes" if changed else "")


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "folder.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == ""
