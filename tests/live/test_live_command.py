"""`fer live` as a command: what it prints, how it ends, and what it refuses before anything is loaded."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from fer_lightning.cli.main import main
from fer_lightning.live.request import open_port

pytest.importorskip("uvicorn")  # the extra `live`


def start(folder, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "fer_lightning", "live", "--device", "cpu", "--port", "0", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(find_spec("facenet_pytorch") is None, reason="facenet-pytorch is not installed")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_it_prints_the_label_and_the_address_and_ends_by_a_signal(tmp_path, number, status):
    process = start(tmp_path)
    try:
        assert "not validated" in process.stdout.readline()
        found = re.fullmatch(
            r"Open (http://127\.0\.0\.1:\d+/\S{32}/) in a browser on this machine; Ctrl-C ends it\.\n",
            process.stdout.readline(),
        )
        assert "fer2013" in urllib.request.urlopen(found[1]).read().decode()
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []  # nothing was recorded


def test_a_port_in_use_is_one_message(capsys):
    with open_port(0) as listener:
        port = listener.getsockname()[1]
        assert main(["live", "--port", str(port)]) == 2
    assert f"fer live: --port {port} is in use; is another `fer live` running?" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["uvicorn", "websockets"])
def test_a_missing_extra_is_one_message(tmp_path, package):
    command = [sys.executable, "-m", "tests.missing_packages", package, "fer_lightning", "live"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd(), env=environment)
    assert done.returncode == 2
    assert f"fer live: {package} not installed, which the page needs: pip install 'fer_lightning[live]'" in done.stderr
