"""Where the members of an ensemble are found."""

import pytest

from fer_lightning.runs.ensemble_record import Part, member_folder
from fer_lightning.runs.folder import RunFolder


@pytest.mark.parametrize(
    ("recorded", "there", "expected"),
    [
        ("runs/x/1-0", ["here/runs/x/1-0", "there/runs/x/1-0"], "there/runs/x/1-0"),
        ("runs/x/1-0", ["here/runs/x/1-0"], "here/runs/x/1-0"),
        ("{here}/runs/x/1-0", ["here/runs/x/1-0", "there/runs/x/1-0"], "here/runs/x/1-0"),
        ("{here}/runs/x/1-0", ["there/runs/x/1-0"], "there/runs/x/1-0"),
    ],
)
def test_a_member_beside_the_ensemble_is_not_taken_for_one_of_the_working_folder(
    tmp_path, monkeypatch, recorded, there, expected
):
    """The ensemble was made in `there`, and is used in `here`, whose runs have the same names."""
    for folder in ("here", "there/runs/both/1-0", *there):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    part = Part("x", recorded.format(here=tmp_path / "here"))
    assert member_folder(RunFolder(tmp_path / "there/runs/both/1-0"), part).resolve() == tmp_path / expected
