"""What version 0.1.0 called something is still found."""

import re
import subprocess
import sys
from importlib import import_module

import pytest

from data_modules.utils.old_paths import MOVED

ROOMS_WITH_CLASSES = {
    "data_modules.faces": ("FaceSettings", "FaceTracker", "vote"),
    "data_modules.tracking": ("FaceTracker", "TrackerSettings", "vote"),
    "data_modules.store": ("ClipStore", "StoredClip"),
    "data_modules.video": ("open_video",),
    "data_modules.prepare": ("prepare_faces", "store_for"),
    "fer_lightning.architectures.vshnn": ("VSHNN",),
    "fer_lightning.architectures.bimodal": ("CNNBiLSTM", "StaticFrameVote"),
}


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_module_is_the_new_one_and_says_so(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=rf"{re.escape(old)} is now {re.escape(MOVED[old])};"):
        module = import_module(old)
    assert module is import_module(MOVED[old])
    assert module.__spec__.name == MOVED[old]  # the alias has not changed the module


@pytest.mark.parametrize("room", ROOMS_WITH_CLASSES)
def test_a_room_in_the_place_of_a_module_exports_its_classes(room):
    module = import_module(room)
    assert all(callable(getattr(module, name)) for name in ROOMS_WITH_CLASSES[room])


def test_the_warning_points_to_the_line_that_imports():
    code = "import warnings; warnings.simplefilter('error')\nimport fer_lightning.schedules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DeprecationWarning: fer_lightning.schedules is now fer_lightning.training.schedules" in done.stderr
    assert 'File "<string>", line 2' in done.stderr


def test_names_that_never_were_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("data_modules.nothing")
