"""The page of a video and the page over all videos, in a real browser where there is one."""

import csv
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.predict.expressions import FaceTrack, VideoFacts
from fer_lightning.predict.overview import write_overview
from fer_lightning.predict.page import write_page
from fer_lightning.predict.timeline import Timeline
from tests.predict.made import LABEL, recognition
from tests.predict.test_predict import fake_detector, fer_predict, table, write_checkpoint, write_video  # noqa: F401

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
HOSTILE = "<img src=x onerror=document.title='hit'>"
NAMES = ("anger", "</script><script>document.title='hit'</script>", "joy")
DRIVER = """<script>addEventListener("load", async () => {
  const seen = {}, slider = document.getElementById("time"), area = slider.getBoundingClientRect();
  const point = (type, share) => slider.dispatchEvent(new PointerEvent(type,
    { clientX: area.left + share * area.width, clientY: area.top + 9, pointerId: 1, bubbles: true }));
  const key = name => slider.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const state = () => [media && +media.currentTime.toFixed(2), +slider.getAttribute("aria-valuenow"),
    document.getElementById("current").textContent];
  if (media && !usable && byId("missing").hidden) await new Promise(done =>
    ["loadedmetadata", "error"].forEach(name => media.addEventListener(name, () => setTimeout(done))));
  STEPS
  document.body.dataset.seen = JSON.stringify(seen);
});</script></body>"""


def timeline(names=NAMES) -> Timeline:
    """Four seconds: a second of the first class, two of the second, one without a face."""
    start, probabilities = np.arange(4.0), np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [np.nan] * 3])
    return Timeline(names, start, start + 1, np.array([1, 1, 1, 0.0]), np.zeros(4, bool), probabilities)


def made(path: Path, **arguments):
    video = VideoFacts(str(path), 160, 120, 10.0, 40, 4.0, 0, 30, 0.0, "")
    boxes = np.tile(np.array([20, 30, 80, 90], np.float32), (30, 1))
    return recognition(timeline(), video, track=FaceTrack(np.arange(30) / 10, boxes), **arguments)


def content(page: Path) -> dict:
    return json.loads(re.search(r"const data = (.*);\n", page.read_text())[1])


def browse(page: Path, steps: str) -> dict:
    """What steps in JavaScript, run in the page, put into `seen`."""
    driven = page.with_name(f"driven-{page.name}")
    text = page.read_text()
    driven.write_text(text[: text.rindex("</body>")] + DRIVER.replace("STEPS", steps) + "</html>")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,900"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run([*command, driven.as_uri()], capture_output=True, text=True, check=True, timeout=300)
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, done.stdout[-3000:] + done.stderr[-3000:]
    assert "<title>hit" not in done.stdout
    return json.loads(html.unescape(found[1]))


@in_chromium
def test_a_click_and_keys_seek_in_the_video(tmp_path):
    """Texts with HTML stay texts: the file's name and a class would change the title of the page."""
    path = write_video(tmp_path / f"{HOSTILE}.mp4", [True] * 30 + [False] * 10)
    (tmp_path / "out").mkdir()
    write_page(made(path), tmp_path / "out" / "index.html")
    seen = browse(
        tmp_path / "out" / "index.html",
        """
        seen.heading = document.querySelector("h1").textContent;
        point("pointerdown", 0.375); seen.click = state();
        key("ArrowRight"); seen.right = state();
        key("End"); seen.end = state();
        key("p"); seen.change = state();
        key("Home"); seen.home = state();
        seen.pixels = (() => { drawBox();
          const pen = boxes.getContext("2d"), x = boxes.width / 160, y = boxes.height / 120;
          const at = (px, py) => [...pen.getImageData(Math.round(px * x), Math.round(py * y), 1, 1).data];
          return [at(20, 60), at(50, 60)]; })();
        point("pointermove", 0.375); seen.tip = document.getElementById("tip").textContent.split("\\n");
        """,
    )
    second = "</script><script>document.title='hit'</script> 80 %"
    assert seen["heading"] == path.name
    assert seen["click"] == [1.5, 1.5, second]
    assert seen["right"] == [2.0, 2.0, second.replace("80", "60")]
    assert seen["end"] == [4.0, 4.0, "no face"]
    assert seen["change"] == [3.0, 3.0, "no face"]
    assert seen["home"] == [0.0, 0.0, "anger 70 %"]
    assert seen["pixels"] == [[0xD5, 0x5E, 0x00, 255], [0, 0, 0, 0]]  # anger's colour on the edge, nothing inside
    assert seen["tip"][0] == f"0:01.5  {second}"
    assert [line.split("%")[0].strip() for line in seen["tip"][1:]] == ["80", "10", "10"]


@in_chromium
def test_a_page_without_its_video_says_so_and_still_shows_the_timeline(tmp_path):
    path = write_video(tmp_path / "gone.mp4", [True] * 4)
    write_page(made(path), tmp_path / "index.html")
    path.unlink()
    seen = browse(
        tmp_path / "index.html",
        """point("pointerdown", 0.625); seen.click = state(); seen.note = !byId("missing").hidden;""",
    )
    assert seen["click"][1:] == [2.5, "</script><script>document.title='hit'</script> 60 %"]
    assert seen["note"]


@in_chromium
def test_the_page_over_all_videos_sorts_and_filters(tmp_path):
    for name, seconds in (("b.mp4", 12.0), ("a & b.mp4", 100.0), ("c.mp4", 9.0)):
        folder, found = tmp_path / name.split(".")[0], made(tmp_path / name)
        folder.mkdir()
        video = VideoFacts(str(tmp_path / name), 160, 120, 10.0, 40, seconds, 0, 30, 0.0, "")
        found = recognition(found.timeline, video)
        found.save_csv(folder / "expressions.csv")
        found.save_json(folder / "expressions.json")
    page = write_overview(tmp_path)
    text = page.read_text().replace(
        "</body>", '<div id="time"></div><i id="current"></i><script>let media = null;</script></body>'
    )
    page.write_text(text)
    seen = browse(
        page,
        """
        const all = found => [...document.querySelectorAll(found)];
        const names = () => all("#rows tbody tr:not([hidden]) a").map(link => link.textContent);
        const seconds = all("#rows thead button").find(each => each.textContent === "seconds");
        seen.first = names(); seconds.click(); seen.down = names(); seconds.click(); seen.up = names();
        const field = document.getElementById("filter");
        field.value = "A & B"; field.dispatchEvent(new Event("input")); seen.filtered = names();
        seen.link = document.querySelector("#rows tbody tr:not([hidden]) a").getAttribute("href");
        """,
    )
    assert seen["first"] == ["a & b.mp4", "b.mp4", "c.mp4"]
    assert seen["down"] == ["a & b.mp4", "b.mp4", "c.mp4"]
    assert seen["up"] == ["c.mp4", "b.mp4", "a & b.mp4"]
    assert seen["filtered"] == ["a & b.mp4"]
    assert seen["link"] == "a%20%26%20b/index.html"


def test_the_command_writes_pages_that_refer_to_the_video(tmp_path, fake_detector):  # noqa: F811
    run = write_checkpoint(tmp_path / "run")
    video = write_video(tmp_path / "films" / "half #1.mp4", [True] * 20 + [False] * 20, audio=True)
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path / "out", "--every", 2, "--no-video") == 0
    page = tmp_path / "out" / "half #1" / "index.html"
    found, rows = content(page), table(page.parent)
    assert 'src="../../films/half%20%231.mp4"' in page.read_text()
    assert [found["names"][label] if label >= 0 else "no face" for label in found["label"]] == [
        row["expression"] for row in rows
    ]
    assert len(found["track"]["time"]) == 20
    assert np.abs(np.reshape(found["track"]["box"], (20, 4)) - [20, 30, 80, 90]).max() <= 3
    assert max(abs(value) for pair in found["sound"] if pair for value in pair) == 100
    assert "not validated for anything" in page.read_text()
    everything = list(csv.DictReader((tmp_path / "out" / "all-videos.csv").open()))
    assert [{key: value for key, value in row.items() if key != "folder"} for row in everything] == rows
    assert {row["folder"] for row in everything} == {"half #1"}
    assert 'href="half%20%231/index.html"' in (tmp_path / "out" / "all-videos.html").read_text()


def test_nothing_on_a_page_comes_from_a_network(tmp_path):
    path = write_video(tmp_path / "a.mp4", [True] * 4)
    write_page(made(path), tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["'](?!a\.mp4)""", text)
    assert LABEL.not_validated in text
    assert "ab" * 8 in text


def test_twenty_minutes_make_a_page_of_less_than_five_megabytes(tmp_path):
    rows, frames = 2400, 36_000
    rng, start = np.random.default_rng(0), np.arange(rows) / 2
    shares = rng.dirichlet(np.ones(7), rows)
    names = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    long = Timeline(names, start, start + 0.5, np.ones(rows), np.ones(rows, bool), shares)
    boxes = rng.uniform(0, 1900, (frames, 4)).astype(np.float32)
    video = VideoFacts("long.mp4", 1920, 1080, 30.0, frames, 1200.0, 0, frames, 1200.0, "")
    sound = rng.uniform(-1, 1, (1600, 2)).astype(np.float32)
    recognition(long, video, sound, FaceTrack(np.arange(frames) / 30, boxes)).save_html(tmp_path / "page.html")
    assert 500_000 < (tmp_path / "page.html").stat().st_size < 5_000_000
    assert len(content(tmp_path / "page.html")["start"]) == rows
