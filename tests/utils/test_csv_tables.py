import csv
import io

import pytest

from data_modules.utils.cells import text_of
from data_modules.utils.csv_tables import csv_bytes, write_csv

ODD = ["plain", "a,b", 'say "x"', "two\nlines", "é ü", "", "=1+1", "@x", "'=1", "-(1)", "-dash"]


def test_a_table_as_it_stands_in_the_file():
    assert csv_bytes(("name", "x"), [("é,", 0.1), ("b", 3), ("c", None)]) == 'name,x\n"é,",0.1\nb,3\nc,\n'.encode()


@pytest.mark.parametrize("protect", [True, False])
def test_text_is_read_back_as_it_was(tmp_path, protect):
    write_csv(tmp_path / "below" / "a.csv", ("text", "="), [(text, 1) for text in ODD], protect)
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["a.csv"]
    rows = list(csv.reader(io.StringIO((tmp_path / "below" / "a.csv").read_text("utf-8"), newline="")))
    texts = [row[0] for row in rows[1:]]
    assert [text_of(text) if protect else text for text in texts] == ODD
    assert rows[0] == ["text", "'=" if protect else "="]


def test_what_a_spreadsheet_would_compute_is_text():
    lines = csv_bytes(("a",), [("=1+1",), ("@x",), ("-(1)",), ("-dash",), (-1.5,)]).decode().splitlines()
    assert lines == ["a", "'=1+1", "'@x", "'-(1)", "-dash", "-1.5"]


def test_a_row_of_another_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a row of 1 values, \['x'\]; expected one for each of \['a', 'b'\]"):
        write_csv(tmp_path / "a.csv", ("a", "b"), [("x", 1), ("x",)])
    assert list(tmp_path.iterdir()) == []
