"""The tutorials' commands and code run in order, as they stand, on little rendered data."""

import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import fer_lightning.architectures
from data_modules.synthetic.clip import ClipSettings
from data_modules.synthetic.writer import write_all
from fer_lightning.cli.main import main

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: title=\"(?P<file>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN, SHOWN = ("bash", "python"), ("r", "yaml", "text")  # text: other programs, such as docker


@dataclass(frozen=True)
class Block:
    """A fenced block: a file to write, commands, or code."""

    kind: str
    file: str | None
    text: str

    def run(self, names: dict) -> None:
        """Does what a reader of the tutorial does; code shares its names with earlier code."""
        if self.file:
            path = Path(self.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text)
        elif self.kind == "python":
            exec(compile(self.text, "tutorial", "exec"), names)
        elif self.kind == "bash":
            for words in map(shlex.split, self.text.splitlines()):
                run(words)


def run(words: list[str]) -> None:
    """Runs a command in this process, which has imported what takes seconds already."""
    if words[0] == "fer":
        assert main(words[1:]) == 0, words
    elif words[:3] == ["python", "-m", "pytest"]:
        tests = [each for name, each in runpy.run_path(words[3]).items() if name.startswith("test_")]
        assert tests
        for test in tests:
            test()
    else:
        raise AssertionError(f"{' '.join(words)}: what does a reader need for this?")


def blocks(name: str) -> Iterator[Block]:
    for match in BLOCK.finditer((TUTORIALS / f"{name}.md").read_text()):
        assert match["kind"] in RUN + SHOWN, match[0]
        yield Block(match["kind"], match["file"], match["text"])


def change(path: Path, **values) -> None:
    """Changes settings of a file, wherever in it they stand."""

    def walk(content):
        if isinstance(content, dict):
            return {key: values[key] if key in values else walk(value) for key, value in content.items()}
        return content

    path.write_text(yaml.safe_dump(walk(yaml.safe_load(path.read_text()))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder like a checkout, in which data sets are tiny and trainings have one epoch."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    data, systems = folder / "experiments" / "data", folder / "experiments" / "systems"
    change(data / "synthetic.yaml", subjects=6, folds=2, size=64, workers=1)
    change(data / "synthetic_stills.yaml", images=56, subjects=6, folds=2, size=64, workers=1)
    for system in ("stills", "middle_frame", "ceflnet"):
        change(systems / f"{system}.yaml", max_epochs=1, channels=[8, 8, 16, 16], clips=2, frames=2)
    base = folder / "experiments" / "base.yaml"
    base.write_text(f"{base.read_text()}data: {{num_workers: 0}}\n")
    return folder


@pytest.fixture
def checkout(folder, monkeypatch):
    """The working folder of all tutorials, so that what is rendered and trained is there for the next one."""
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / "predictions", ignore_errors=True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the folder's `fer_lightning` holds the tutorial's model alone
    for name in ("data", "runs", "results"):
        monkeypatch.setenv(f"FER_{name.upper()}", str(folder / name))
    added = str(folder / "fer_lightning" / "architectures")
    monkeypatch.setattr(fer_lightning.architectures, "__path__", [*fer_lightning.architectures.__path__, added])
    return folder


def render(*paths: Path) -> None:
    """Renders a second of a talking face as each of the files."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = ClipSettings("lab", number, "happiness", 0, 7)
        write_all([clip], path.parent, 1, "rendering")
        (path.parent / f"{clip.clip_id}.mp4").rename(path)
        for left in path.parent.glob(f"{clip.clip_id}.*"):
            left.unlink()


def follow(name: str) -> None:
    names: dict = {}
    for block in blocks(name):
        block.run(names)


@pytest.mark.slow
def test_researcher(checkout, capsys):
    follow("researcher")
    text = capsys.readouterr().out
    assert "LMED-CF, AFEW, SVM" in text
    assert "runs/lmed_cf_svm_synthetic/1-0 minus runs/lmed_svm_synthetic/1-0, N = 21" in text
    assert "21 clips; the columns are clip_id" in text
    assert (checkout / "results" / "vshnn_9.synthetic.small" / "table.tex").is_file()
    assert (checkout / "runs" / "lmed_svm_synthetic.scaled" / "1-0" / "report" / "index.html").is_file()


@pytest.mark.slow
def test_engineer(checkout, capsys):
    render(checkout / "talk.mp4")
    follow("engineer")
    text = capsys.readouterr().out
    assert "happiness" in text
    assert "['no face', 'no face']" in text
    assert "torch.Size([2, 7])" in text
    for name in ("talk.csv", "talk.json", "talk.vtt", "talk.html", "middle.safetensors", "middle.md"):
        assert (checkout / name).is_file()


def test_psychologist(checkout, capsys):
    pd = pytest.importorskip("pandas")
    render(checkout / "interviews" / "anna.mp4", checkout / "interviews" / "ben.mp4")
    follow("psychologist")
    people = pd.read_csv("participants.csv", index_col="folder")
    assert list(people.index) == ["anna", "ben"]
    assert people.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx([1, 1], abs=0.01)
    assert set(pd.read_csv("predictions_sure/all-videos.csv").folder) == {"anna", "ben"}


@pytest.mark.slow
def test_contributor(checkout, capsys):
    follow("contributor")
    text = capsys.readouterr().out
    assert "frame_maximum            the largest value of each feature over the frames" in text
    assert "runs/frame_maximum_synthetic/1-0 minus runs/frame_average_synthetic/1-0, N = 21" in text


def test_no_tutorial_is_left_out():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in TUTORIALS.glob("*.md")} <= tests
