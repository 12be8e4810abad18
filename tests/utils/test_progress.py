from data_modules.utils import progress as module
from data_modules.utils.progress import progress


def test_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_EVERY", 0.0)
    with progress("faces", 4) as advance:
        for done in (1, 2, 4):
            advance(done)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["faces: 1 of 4", "faces: 2 of 4", "faces: 4 of 4"]


def test_quick_work_says_only_that_it_is_done(capsys):
    with progress("faces", 3) as advance:
        for done in (1, 2, 3):
            advance(done)
    assert capsys.readouterr().out.startswith("faces: 3 of 3, 0 s, 0 s left")
    with progress("faces", 3, transient=True) as advance:
        advance(3)
    with progress("faces", 0) as advance:
        advance(0)
    assert capsys.readouterr().out == ""
