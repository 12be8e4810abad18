"""Help and mistakes are answered before anything is imported that takes seconds; options are known by full names."""

import json
import os
import subprocess
import sys

import pytest

from fer_lightning.cli.main import COMMANDS, main
from tests.small_runs import experiment

HEAVY = (
    "torch",
    "torchvision",
    "pytorch_lightning",
    "timm",
    "cv2",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "wandb",
)
LIGHTNINGS = ("fit", "validate", "test")
"""Lightning's commands; the help of the first two is Lightning's, which is built from PyTorch's classes."""

HELP = [[], ["--help"], ["--version"], ["trian"]]
HELP += [[name, "--help"] for name in COMMANDS if name not in ("fit", "validate")]
HELP += [["data", name, "--help"] for name in ("list", "prepare", "doctor", "folds")]

MISTAKES = {
    "no data set 'dfe'": ("train ceflnet_dfe", "cv ceflnet_dfe", *(f"{name} ceflnet_dfe" for name in LIGHTNINGS)),
    "no data set 'dfw'": (
        *("train ceflnet_dfew --data dfw", "reproduce ceflnet_6 --data dfw", "tables --data dfw"),
        *("data prepare dfw", "data doctor dfw", "data folds dfw", "test --checkpoint here --data dfw"),
    ),
    "no experiment": ("train nosuch_dfew", "ablate nosuch --grid model.sal=[true]", "ablate nosuch"),
    "no system and no data set has 'ceflnett'": ("experiments ceflnett",),
    "no table": ("reproduce ceflnet_66", "tables ceflnet_66", "dashboard ceflnet_66"),
    "no row 'nosuch'": ("reproduce ceflnet_6 --rows nosuch",),
    "no run or checkpoint nosuch": (
        *(
            "predict here --checkpoint nosuch",
            "live --checkpoint nosuch",
            "export nosuch model.safetensors",
            "push nosuch me/model",
            "report nosuch",
            "compare here nosuch",
        ),
        *("noise nosuch", "ensemble here nosuch", "test --checkpoint nosuch --data dfew"),
    ),
    "hf:no/such is not on this machine": (
        "predict here --checkpoint hf:no/such",
        "test --checkpoint hf:no/such --data dfew",
    ),
    "expected OWNER/NAME": ("pull nosuch", "predict here --checkpoint hf:nosuch", "pull no/such/model"),
    "there is no such file; expected a video": ("live --input nosuch.mp4",),
    "expected the number of a camera": ("live --camera -1",),
    "--camera: not allowed with argument --input": ("live --input here/a.mp4 --camera 0",),
    "no such file": ("predict nosuch.mp4", "faces nosuch.mp4", "train ceflnet_dfew --config nosuch.yaml"),
    "no file nosuch.yaml": ("ablate nosuch.yaml",),
    "no experiment file nosuch.yaml: looked for /": ("train nosuch.yaml --data dfew", "cv nosuch.yaml"),
    "there is no such file": ("fit --config=nosuch.yaml", "test ceflnet_dfew --ckpt_path nosuch.ckpt"),
    "did you mean --size?": ("train ceflnet_dfew --siez small", "cv ceflnet_dfew --siez=small", "tables --siez small"),
    "did you mean --trainer?": ("train ceflnet_dfew --trianer.max_epochs 3",),
    "did you mean --device?": ("predict here --devise cpu", "data prepare dfew --devise cpu"),
    "did you mean --every?": ("faces here --evry 4",),
    "no option --check": ("predict here --check here",),  # no abbreviations
    "no option --dry": ("reproduce ceflnet_6 --dry",),
    "unrecognized arguments: --land": ("faces here --land mesh",),
}

PROGRAM = """
import contextlib, io, json, sys
import data_modules, data_modules.datasets, fer_lightning, fer_lightning.layers
report = [(["import"], 0, "", sorted(sys.modules))]
from fer_lightning.cli.main import main
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    report.append((arguments, status, said.getvalue(), sorted(sys.modules)))
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one process answers to everything above, one after another, and the modules that it then has."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "here").mkdir()
    (folder / "here" / "a.mp4").touch()
    asked = HELP + [line.split() for lines in MISTAKES.values() for line in lines]
    command = [sys.executable, "-c", PROGRAM, json.dumps(asked)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return json.loads(found.stdout)


def test_help_and_mistakes_import_nothing_that_takes_seconds(answers):
    imported = {name: " ".join(arguments) for arguments, _, _, names in reversed(answers) for name in names}
    assert {name: imported[name] for name in HEAVY if name in imported} == {}


def test_packages_alone_import_no_arrays(answers):
    assert answers[0][0] == ["import"]
    assert not {"numpy", "jsonargparse", "yaml", *HEAVY} & set(answers[0][3])


def test_help_is_printed(answers):
    helps = [(arguments, status, said) for arguments, status, said, _ in answers if "--help" in arguments]
    assert len(helps) > len(COMMANDS) - 2
    assert "--checkpoint RUN" in next(said for arguments, _, said in helps if arguments[0] == "test")
    assert [arguments for arguments, status, said in helps if status != 0 or "usage: fer" not in said] == []


def test_mistakes_are_one_message_that_names_them(answers):
    said = {" ".join(arguments): (status, text) for arguments, status, text, _ in answers}
    expected = {line: part for part, lines in MISTAKES.items() for line in lines}
    assert {
        line: said[line] for line, part in expected.items() if said[line][0] != 2 or part not in said[line][1]
    } == {}
    assert all(len(said[line][1].splitlines()) == 1 for line in expected)
    assert "did you mean train?" in said["trian"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--trainer.max_epoch", "3"),
            "unrecognized arguments: --trainer.max_epoch 3; did you mean --trainer.max_epochs?",
        ),
        (("--model.init_args.sall", "false"), "fer_lightning.CEFLNet has no argument 'sall'; did you mean sal?"),
        (("--model.optimizer.init_args.lrr", "1"), "has no argument 'lrr'; did you mean lr?"),
        (("--data.dataset.foldd", "1"), "DFEW has no argument 'foldd'; did you mean fold?"),
    ],
)
def test_misspelt_settings_are_refused_with_a_suggestion(capsys, arguments, message):
    assert main(experiment(*arguments)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fer tr", {"train"}),
        ("fer train ceflnet_synthetic_oc", {"ceflnet_synthetic_occluded", "ceflnet_synthetic_occluded_stills"}),
        ("fer validate vshnn_df", {"vshnn_dfew"}),
        ("fer data doctor --j", {"--json"}),
        ("fer faces --al", {"--align"}),
    ],
)
def test_the_shell_completes_commands_names_and_options(tmp_path, line, expected):
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run([sys.executable, "-m", "fer_lightning"], env=os.environ | asked, check=True)
    assert set(answer.read_text().split("\n")) - {""} == expected
