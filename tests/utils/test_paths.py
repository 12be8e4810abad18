from pathlib import PurePosixPath, PureWindowsPath

import pytest

from data_modules.utils.paths import safe_relative


@pytest.mark.parametrize(
    "name", ["a", "a/b.mp4", "./a", ".", "a/.hidden", "..y..", "a..b/..c", "é ü", "ab:c", "1:2", "-rf"]
)
def test_names_that_stay_below_their_folder(name):
    assert safe_relative(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/etc/passwd", "..", "../a", "a/..", "a/../../b", "a\0b"),
        *("\\a", "..\\a", "a\\..\\..\\b", "\\\\server\\share", "C:", "C:a", "c:\\a", "C:/a"),
    ],
)
def test_names_that_leave_it_or_are_none(name):
    assert not safe_relative(name)


def test_all_short_names_are_judged_as_both_systems_do():
    parts = ("", ".", "..", "a", "b")
    for first in parts:
        for second in parts:
            for third in parts:
                for slash in "/\\":
                    name = slash.join((first, second, third))
                    paths = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
                    leaves = any(path.root or ".." in path.parts for path in paths)
                    assert safe_relative(name) == (not leaves), name
