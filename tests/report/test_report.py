import base64
import json
import re
import statistics
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import f1_score, recall_score

from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.calibration import calibrate, fit_temperature, scaled
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import MACRO_F1, STD_ACCURACY, UAR, WAR, confusion_matrix, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Gallery
from fer_lightning.report.figures.examples import choose_examples
from fer_lightning.report.figures.style import png
from fer_lightning.report.page import write_report
from fer_lightning.report.sections import relations, streams
from fer_lightning.report.sections.activation import ActivationExample, activation_figure, load_example
from fer_lightning.report.sections.confusion import confusion_figure
from fer_lightning.report.sections.curves import curves_figure, read_curves
from fer_lightning.report.sections.features import embedding_figure, tsne
from fer_lightning.report.sections.relations import RelationExample, load_relation, relation_figure
from fer_lightning.report.summary import few_note, result_lines, summary_line
from fer_lightning.runs.folder import RunFolder, RunInfo
from tests.predictions import plain_table

NAMES = ("anger", "happiness", "neutral", "sad $\\frac$")
SECTIONS = (
    *("confusion", "classes", "subjects", "calibration", "curves", "features", "activation", "coverage", "cost"),
    "configuration",
)
CLIPS, FRAMES, GROUPS = 24, 6, 3
HOSTILE = "<script>alert('config')</script><img src=\"https://example.org/x.png\">"


class Page(HTMLParser):
    """What a test wants to know of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self) -> list[str | None]:
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


def some_table(none: tuple[int, ...] = (5,)) -> PredictionTable:
    generator = np.random.default_rng(0)
    label = np.arange(CLIPS) % len(NAMES)
    p = generator.dirichlet(np.ones(len(NAMES)), size=CLIPS) * 0.5
    p[np.arange(CLIPS), label] += 0.5
    p[::5] = np.roll(p[::5], 1, axis=1)  # every fifth is wrong
    p[list(none)] = np.nan
    reason = ["<b>no</b> face" if row in none else "" for row in range(CLIPS)]
    return PredictionTable(
        NAMES,
        clip_id=np.array([f"s{i // 4}/<clip>{i:02d}" for i in range(CLIPS)]),
        subject=np.array([f"s{i // 4}" for i in range(CLIPS)]),
        group=np.array([""] * CLIPS),
        split=np.array(["test"] * CLIPS),
        fold=np.array(["1"] * CLIPS),
        seed=np.zeros(CLIPS, np.int64),
        emotion=np.array(NAMES)[label],
        probabilities=p,
        coverage=np.where(np.isin(np.arange(CLIPS), none), 0.0, 0.9),
        reason=np.array(reason),
    )


def some_outputs(table: PredictionTable) -> ClipOutputs:
    generator = np.random.default_rng(1)
    clips = table.clip_id[~table.missing].tolist()
    frame_index = np.tile(np.arange(FRAMES) * 3, (len(clips), 1))
    intensity = np.tile(np.linspace(0, 1, FRAMES), (len(clips), 1)).astype(np.float32)
    attention = np.tile(np.array([0.1, 0.2, 0.7], np.float32), (len(clips), 1))
    attention[0] = [0.8, 0.1, 0.1]  # misses the peak
    feature = generator.normal(size=(len(clips), 8)).astype(np.float32)
    return ClipOutputs(tuple(clips), feature, frame_index, attention, intensity)


def made_up(tmp_path: Path) -> RunFolder:
    """A run with everything there is."""
    folder = RunFolder(tmp_path / "runs" / "made_up" / "1-0")
    table = some_table()
    outputs = some_outputs(table)
    table.write(folder.predictions("test"))
    some_table(none=()).select(np.arange(8)).write(folder.predictions("inner"))
    outputs.write(folder.outputs("test"))
    store = ClipStore(tmp_path / "store")
    crop = np.full((16, 16, 3), 90, np.uint8)
    for clip_id in outputs.clip_id:
        faces = [
            FaceFrame(3 * i, crop + i, np.zeros(4, np.float32), 1.0) for i in range(FRAMES - 1)
        ]  # the last is lost
        store.write(ClipSummary(clip_id, 18, 0), faces)
    folder.write_info(
        RunInfo("made_up", "CEFLNet", "data & co", NAMES, "1", 0, "inner", 2, str(store.folder), 12_830_000,
                63_800_000_000, 0.0873, 8, "some device", "bf16", 3721.0)
    )  # fmt: skip
    folder.curves.write_text(
        "epoch,step,train/loss,train/war,inner/loss,inner/war,inner/uar,lr-Adam\n"
        "0,4,,,1.9,0.3,0.3,\n0,4,1.8,0.4,,,,\n0,4,,,,,,0.001\n1,9,,,1.5,0.5,0.45,\n1,9,1.2,0.6,,,,\n2,14,nan,0.7,1.4,0.5,0.5,\n"
    )
    folder.config.write_text(f"model: {HOSTILE}\n")
    return folder


STANDING = np.array([0, 1, 4, 3, 4, 5])  # the third frame is replaced by the fifth
ABSENT = (0, 7, 8)  # rows of the outputs without landmarks


def related(run: RunFolder) -> ClipOutputs:
    """Adds to a made-up run how its frames relate, and what two streams say alone."""
    generator = np.random.default_rng(3)
    outputs = ClipOutputs.read(run.outputs("test"))
    clips = len(outputs)
    relation = generator.uniform(-0.5, 1, (clips, FRAMES, FRAMES)).astype(np.float32)
    streams = generator.dirichlet(np.ones(len(NAMES)), size=(clips, 2)).astype(np.float32)
    label = PredictionTable.read(run.predictions("test")).label
    rows = [int(clip_id[-2:]) for clip_id in outputs.clip_id]
    streams[::2, 0] = 0.2 * streams[::2, 0] + 0.8 * np.eye(len(NAMES))[label[rows]][::2]  # every other one is right
    streams[list(ABSENT), 1] = np.nan
    outputs = replace(
        outputs,
        relation=relation,
        frame_source=np.tile(STANDING, (clips, 1)),
        streams=streams,
        stream_names=("video", "<b>landmarks</b>"),
    )
    outputs.write(run.outputs("test"))
    return outputs


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A made-up run to change."""
    return made_up(tmp_path)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A made-up run with its report, to look at."""
    run = made_up(tmp_path_factory.mktemp("reported"))
    (run.report.parent / "figures").mkdir(parents=True)
    (run.report.parent / "figures" / "activation-99.png").write_bytes(b"old")
    (run.report.parent / "figures" / "mine.txt").write_text("kept")
    before = dict(mpl.rcParams)
    write_report(run)
    assert dict(mpl.rcParams) == before, "matplotlib's settings are left as they are"
    return run


def page_of(run: RunFolder) -> Page:
    path = write_report(run)
    assert path == run.report
    return Page(path.read_text())


def section(page: Page, run: RunFolder, name: str) -> str:
    """The text of one section."""
    html = run.report.read_text()
    return html[html.index(f'<section id="{name}">') :].split("</section>")[0]


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("clips", "exclusive in clips only"),
        ("films", "It shares no films with the training clips"),
        ("", "N = 8 clips"),
    ],
)
def test_what_the_inner_split_is_exclusive_in_is_said(run: RunFolder, unit: str, said: str) -> None:
    run.write_info(replace(run.read_info(), exclusive_in=unit))
    text = page_of(run).text
    assert said in text
    assert unit or "with the training clips" not in text


def test_accuracy_over_parts_of_the_clips_is_beside_that_over_all(run: RunFolder) -> None:
    table = some_table()
    run.write_info(replace(run.read_info(), classes_from_stills=("neutral",)))
    text = page_of(run).text
    answered, moving = table.correct[~table.missing].mean(), table.correct[table.emotion != "neutral"].mean()
    assert f"Over the others: WAR {answered:.3f}" in text
    assert f"Clips of neutral are single frames of other clips. Without them: WAR {moving:.3f}" in text
    assert f"(N = {(table.emotion != 'neutral').sum()})" in text
    run.write_info(replace(run.read_info(), classes_from_stills=()))
    assert "Without them" not in page_of(run).text


def test_the_page_is_whole_and_needs_nothing_else(reported: RunFolder) -> None:
    html = reported.report.read_text()
    page = Page(html)
    assert tuple(page.ids()) == SECTIONS
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base"), tag
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name) or ""
            assert not value or value.startswith("#" if tag == "a" else "data:image/png;base64,"), (tag, value[:60])
    assert not re.search(r"@import|url\(", html)
    assert "default-src 'none'" in html
    for image in page.all("img"):
        content = base64.b64decode((image["src"] or "").split(",")[1])
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.std() > 1, "the picture is not empty"
        assert image["alt"]
    figures = zip(page.all("figure"), page.all("img"), strict=True)
    inverted = {str(image["alt"]).startswith("Clip "): figure.get("class") == "chart" for figure, image in figures}
    assert inverted == {True: False, False: True}, "in the dark, charts are inverted, and faces are not"
    assert {attributes["href"] for attributes in page.all("a")} == {f"#{name}" for name in SECTIONS}


def test_figures_stand_beside_the_page_and_old_ones_go(reported: RunFolder) -> None:
    folder = reported.report.parent / "figures"
    pictures = len(Page(reported.report.read_text()).all("img"))
    names = sorted(path.name for path in folder.iterdir())
    assert {"confusion.png", "subjects.png", "curves.png", "features.png", "coverage.png"} <= set(names)
    assert len([name for name in names if name.endswith(".png")]) == pictures
    assert "activation-99.png" not in names
    assert "mine.txt" in names
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in names if name.endswith(".png"))


def test_what_comes_from_files_is_escaped(reported: RunFolder) -> None:
    page = Page(reported.report.read_text())
    assert HOSTILE in page.text, "the configuration is shown as it is"
    assert "<b>no</b> face" in page.text
    assert "data & co" in page.text
    assert "s0/<clip>0" in " ".join(attributes["alt"] or "" for attributes in page.all("img"))
    assert not {"clip", "script"} & {tag for tag, _ in page.tags}


def test_numbers_on_the_page(reported: RunFolder) -> None:
    page = Page(reported.report.read_text())
    table = PredictionTable.read(reported.predictions("test"))
    found = scores(table)
    interval = bootstrap(table)[WAR]
    text = re.sub(r"\s+", " ", page.text)
    assert f"WAR (accuracy){found[WAR]:.3f}95 %: {interval:.3f}" in text
    assert f"UAR (mean recall){found[UAR]:.3f}" in text
    assert f"{found[UAR]:.3f} ± {found[STD_ACCURACY]:.3f}" in text
    true, predicted = table.emotion.tolist(), table.predicted.tolist()
    macro = f1_score(true, predicted, labels=NAMES, average="macro", zero_division=0)
    assert f"macro F1{macro:.3f}95 %: {bootstrap(table)[MACRO_F1]:.3f}" in text
    deviation = statistics.stdev(recall_score(true, predicted, labels=NAMES, average=None, zero_division=0).tolist())
    assert f"± {deviation:.3f}" in text
    assert "most frequent class: 0.250" in text
    assert "chance: 0.250" in text
    assert "24 clips of 6 subjects" in text
    assert "Without a prediction: 1 of 24 clips" in text
    assert "12.83 M" in text
    assert "63.80 G" in text
    assert "87.30 ms per clip (some device, bf16, batches of 8)" in text
    assert "1 h 2 min 1 s" in text
    assert "Not finite in some epochs: train/loss" in text
    assert "the peak of the expression in 95.7 % of 23 clips" in text
    assert "would in 33.3 %" in text
    inner = summary_line(PredictionTable.read(reported.predictions("inner")))
    assert f"Inner split, for comparison: {' '.join(inner.split())}" in text
    assert re.findall("Warning: .{41}", text) == ["Warning: this result rests on very little, 24 clip"]


def test_a_best_on_test_run_is_called_so(run: RunFolder) -> None:
    run.write_info(replace(run.read_info(), selection="best_on_test"))
    text = page_of(run).text
    assert "Warning:" in text
    assert "chosen on the very split that is reported" in text


def test_a_model_without_attention(run: RunFolder) -> None:
    outputs = ClipOutputs.read(run.outputs("test"))
    ClipOutputs(outputs.clip_id, outputs.feature, outputs.frame_index).write(run.outputs("test"))
    page = page_of(run)
    assert "gives no attention over frames" in section(page, run, "activation")
    assert "<img" in section(page, run, "features")


def test_a_report_shows_relations_and_streams(run: RunFolder) -> None:
    outputs = related(run)
    page = page_of(run)
    added = ["streams", "relations"]
    assert [name for name in page.ids() if name not in added] == list(SECTIONS)
    order = page.ids()
    assert order[order.index("activation") + 1] == "relations"
    assert order[order.index("subjects") + 1] == "streams"

    shown = section(page, run, "relations")
    assert 3 <= shown.count("<img") <= 4
    assert "replaced frames: 3" in shown
    assert "1.0 of 6 frames are replaced" in shown
    # the intensity rises from 0 to 1: only the last of six frames holds the apex, and the third becomes the fifth
    assert "The apex of the expression is in 0.0 % of the replaced frames and in 0.0 % of those used instead" in shown
    assert "from 16.7 to 16.7 % of the frames of" in shown
    assert (run.report.parent / "figures" / "relations-01.png").exists()

    table = PredictionTable.read(run.predictions("test"))
    assert outputs.streams is not None
    said = dict(zip(outputs.clip_id, outputs.streams, strict=True))
    right = np.zeros((CLIPS, 3), bool)  # video, landmarks, fusion
    for row, (clip_id, emotion) in enumerate(zip(table.clip_id.tolist(), table.emotion.tolist(), strict=True)):
        for stream in range(2):
            values = said.get(clip_id, np.full((2, len(NAMES)), np.nan))[stream]
            right[row, stream] = not np.isnan(values).any() and NAMES[values.argmax()] == emotion
    right[:, 2] = table.predicted == table.emotion
    war = right.mean(axis=0)
    uar = np.mean([right[table.emotion == name].mean(axis=0) for name in NAMES], axis=0)
    cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", section(page, run, "streams"))[6:]
    rows = [cells[start : start + 6] for start in range(0, 18, 6)]
    assert [row[0] for row in rows] == ["video alone", "&lt;b&gt;landmarks&lt;/b&gt; alone", "fusion"]
    assert [row[1] for row in rows] == [f"{value:.3f}" for value in war]
    assert [row[3] for row in rows] == [f"{value:.3f}" for value in uar]
    assert [row[5] for row in rows] == ["1", "4", "1"], "one clip has no prediction at all"
    assert rows[2][2] == f"{bootstrap(table)[WAR]:.3f}"
    assert rows[2][4] == f"{bootstrap(table)[UAR]:.3f}"
    assert war[0] > war[1]
    gain = (right[:, 2].astype(float) - right[:, 0]).reshape(-1, 4)  # each subject has four clips
    drawn = np.random.default_rng(9).integers(len(gain), size=(20_000, len(gain)))
    means = gain.mean(axis=1)[drawn].mean(axis=1)
    wider = np.sqrt(len(gain) / (len(gain) - 1)) * t.ppf(0.975, len(gain) - 1) / norm.ppf(0.975)
    low, high = gain.mean() + wider * (np.quantile(means, [0.025, 0.975]) - means.mean())
    found = re.search(r"best stream here is video; the fusion minus video: WAR (\S+) \[(\S+), (\S+)\]", page.text)
    assert found is not None
    np.testing.assert_allclose([float(x) for x in found.groups()], [gain.mean(), low, high], atol=0.03)
    assert float(found[1]) == pytest.approx(gain.mean(), abs=5e-4)
    assert f"the fusion in {(gain > 0).sum()} clips, video in {(gain < 0).sum()} (" in page.text


def test_streams_of_other_classes_do_not_stop_the_report(run: RunFolder) -> None:
    outputs = related(run)
    replace(outputs, streams=np.full((len(outputs), 2, 3), 1 / 3, np.float32)).write(run.outputs("test"))
    page = page_of(run)
    assert "streams of 3 classes, the table has 4" in section(page, run, "features")
    assert tuple(page.ids()) == SECTIONS


def test_relations_and_streams_need_a_store_and_outputs(run: RunFolder, tmp_path: Path) -> None:
    outputs, table = related(run), PredictionTable.read(run.predictions("test"))
    info = replace(run.read_info(), store=str(tmp_path / "gone"))
    calibration = calibrate(run, info)
    evaluation = EvaluatedRun(run, info, table, scores(table), outputs, "", Gallery(tmp_path), calibration, {})
    found = relations.section(evaluation)
    assert found is not None
    assert "gone is missing" in found.missing[0]
    assert not found.pictures
    without = replace(evaluation, outputs=None, no_outputs="no outputs")
    assert relations.section(without) is None
    assert streams.section(without) is None


def test_a_report_shows_calibration_before_and_after(run: RunFolder) -> None:
    inner = confident_table(400, 2)
    inner.write(run.predictions("inner"))
    test = confident_table(300, 3, "test")
    test.write(run.predictions("test"))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", section(page_of(run), run, "calibration")))
    temperature = fit_temperature(inner.probabilities, inner.label)
    assert temperature == pytest.approx(2, rel=0.2)
    assert f"temperature {temperature:.3f}, fitted on 400 clips of the inner split" in text
    before, after = (-np.log(p[np.arange(300), test.label]).mean()
                     for p in (test.probabilities, scaled(test.probabilities, temperature)))  # fmt: skip
    row = re.search(r"NLL ([\d.]+) \[.*?\] ([\d.]+) \[", text)
    assert row is not None
    assert [float(value) for value in row.groups()] == pytest.approx([before, after], abs=6e-4)
    confidence = scaled(test.probabilities, temperature).max(axis=1)
    row = re.search(r" 20 % (0\.\d+) (0\.\d+) (0\.\d+) (0\.\d+) (0\.\d+)", text)
    assert row is not None
    threshold, _, _, coverage, error = map(float, row.groups())
    kept = confidence >= threshold
    assert coverage == pytest.approx(kept.mean(), abs=0.01)
    assert error == pytest.approx((~test.correct[kept]).mean(), abs=0.01)
    assert {"reliability.png", "risk-coverage.png"} <= {path.name for path in run.report.parent.glob("figures/*")}
    assert json.loads((run.path / "calibration.json").read_text())["temperature"] == temperature


def test_a_report_says_what_is_lost_without_the_order_of_the_frames(run: RunFolder) -> None:
    """Shuffled, three clips more are wrong, reversed none."""
    table = PredictionTable.read(run.predictions("test"))
    probabilities, lost = table.probabilities.copy(), np.flatnonzero(table.correct)[:3]
    probabilities[lost] = np.roll(probabilities[lost], 1, axis=1)
    replace(table, probabilities=probabilities).write(run.order_predictions("shuffled"))
    table.write(run.order_predictions("reversed"))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", section(page_of(run), run, "temporal")))
    war, count = table.correct.mean(), len(table)
    assert f" as they are {war:.3f} " in text
    for name, change in (("frames shuffled", -3 / count), ("clip reversed", 0)):
        row = re.search(rf"{name} ([\d.]+) [\d.]+ ([-+][\d.]+) \[", text)
        assert row is not None, text
        assert [float(value) for value in row.groups()] == pytest.approx([war + change, change], abs=6e-4)
    assert "all frames the apex" not in text


def test_a_report_says_why_there_is_no_temperature(run: RunFolder) -> None:
    run.write_info(replace(run.read_info(), selection="last"))
    assert "there is no inner split: the model was trained on all training" in section(page_of(run), run, "calibration")


def confident_table(clips: int, seed: int, split: str = "inner") -> PredictionTable:
    """Clips whose classes are drawn from the softmax of logits, and predictions twice as confident as that."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (clips, len(NAMES)))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (generator.random(clips)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return plain_table(NAMES, label, p**2 / (p**2).sum(axis=1, keepdims=True), split, clips_per_subject=4)


def test_missing_files_are_named_and_do_not_stop_the_report(run: RunFolder) -> None:
    for path in (run.outputs("test"), run.curves, run.config, run.predictions("inner")):
        path.unlink()
    page = page_of(run)
    assert "test.safetensors is missing" in section(page, run, "activation")
    assert "test.safetensors is missing" in section(page, run, "features")
    assert "metrics.csv is missing" in section(page, run, "curves")
    assert "config.yaml is missing" in section(page, run, "configuration")
    assert "no prediction table of an inner split" in page.text


def test_a_missing_store_and_missing_clips(run: RunFolder, tmp_path: Path) -> None:
    for path in (tmp_path / "store").rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    broken = section(page_of(run), run, "activation")
    assert "is not shown" in broken
    assert "<img" not in broken
    run.write_info(replace(run.read_info(), store=str(tmp_path / "gone")))
    gone = section(page_of(run), run, "activation")
    assert "gone is missing" in gone
    assert "the peak of the expression in" in gone, "the hit rate needs no store"


def test_damaged_tables_of_curves_are_named(run: RunFolder) -> None:
    run.curves.write_text("epoch,train/loss\n0,1.0\n1,many\n")
    assert "metrics.csv, line 3" in section(page_of(run), run, "curves")
    run.curves.write_text("step,other\n0,1.0\n")
    assert "no column &#39;epoch&#39;" in section(page_of(run), run, "curves")


def test_a_run_without_a_table_is_refused(run: RunFolder) -> None:
    run.predictions("test").unlink()
    with pytest.raises(FileNotFoundError, match="no prediction table"):
        write_report(run)
    assert not run.finished


def test_a_run_where_nothing_could_be_predicted(run: RunFolder) -> None:
    some_table(none=tuple(range(CLIPS))).write(run.predictions("test"))
    page = page_of(run)
    assert "Without a prediction: 24 clips." in page.text
    assert "is not shown" not in page.text
    assert "No clip has both" in section(page, run, "activation")


def test_the_none_column_is_drawn_only_when_needed() -> None:
    with_none, without = (confusion_matrix(some_table(none)) for none in ((5,), ()))
    labels = [
        [tick.get_text() for tick in confusion_figure(matrix, NAMES).axes[0].get_xticklabels()]
        for matrix in (with_none, without)
    ]
    assert labels[0][-1] == "none"
    assert len(labels[1]) == len(NAMES)


def test_examples_are_the_same_every_time_and_show_every_class() -> None:
    table = some_table()
    outputs = some_outputs(table)
    chosen = choose_examples(table, outputs)
    order = np.random.default_rng(0).permutation(len(table))
    assert choose_examples(table.select(order), outputs) == chosen
    assert len(set(chosen)) == len(chosen)
    rows = [table.clip_id.tolist().index(clip_id) for clip_id in chosen]
    assert set(table.emotion[rows].tolist()) == set(NAMES)
    assert 0 < (~table.correct[rows]).sum() <= 3
    assert not table.missing[rows].any()


def test_an_example_holds_the_frames_that_the_model_saw(tmp_path: Path) -> None:
    table = some_table()
    outputs = some_outputs(table)
    clip_id = outputs.clip_id[2]
    store = ClipStore(tmp_path)
    shades = [30, 60, 90, 120, 150]
    faces = [
        FaceFrame(3 * i, np.full((8, 8, 3), s, np.uint8), np.zeros(4, np.float32), 1.0) for i, s in enumerate(shades)
    ]
    store.write(ClipSummary(clip_id, 18, 0), [*faces, FaceFrame(16, faces[0].crop, faces[0].box, 1.0)])
    example = load_example(clip_id, table, outputs, store.open(clip_id))
    assert example.present.tolist() == [True] * 5 + [False]
    np.testing.assert_allclose(example.crops[:5].mean(axis=(1, 2, 3)), shades, atol=2)
    assert example.emotion == table.emotion[table.clip_id == clip_id][0]


@pytest.mark.parametrize(("frames", "groups"), [(1, 1), (6, 3), (16, 16), (35, 7), (40, 40), (100, 20)])
def test_activation_maps_of_any_shape(frames: int, groups: int) -> None:
    generator = np.random.default_rng(0)
    attention = generator.random(groups).astype(np.float32)
    crops = generator.integers(255, size=(frames, 8, 8, 3)).astype(np.uint8)
    example = ActivationExample("a", "anger", "fear", 0.5, crops, np.ones(frames, bool), attention)
    figure = activation_figure(example)
    strip, bars = figure.axes
    framed = strip.patches[-1].get_bbox()
    best = (attention.argmax() + 0.5) * frames / groups
    assert framed.x0 <= best <= framed.x1, "the most attended group is the one that is framed"
    assert len(bars.patches) == groups
    assert len(png(figure)) > 1000


def some_relation(frames: int, frame_source: np.ndarray | None, real: int | None = None) -> RelationExample:
    generator = np.random.default_rng(0)
    crops = generator.integers(255, size=(frames, 8, 8, 3)).astype(np.uint8)
    there = np.arange(frames) < (frames if real is None else real)
    relation = generator.uniform(-1, 1, (frames, frames)).astype(np.float32)
    relation[~there] = relation[:, ~there] = np.nan
    return RelationExample("a", "anger", "fear", 0.5, crops, there, relation, frame_source)


def test_a_relation_figure_frames_what_was_replaced() -> None:
    example = some_relation(FRAMES, STANDING)
    plainly, after, matrix, _, bars = relation_figure(example).axes
    assert not plainly.patches
    (framed,) = after.patches
    assert 2 <= framed.get_bbox().x0 < framed.get_bbox().x1 <= 3
    assert [tick.get_text() for tick in plainly.get_xticklabels()] == ["1", "2", "3", "4", "5", "6"]
    assert [tick.get_text() for tick in after.get_xticklabels()] == ["1", "2", "5", "4", "5", "6"]
    for place, image in enumerate(after.images):
        np.testing.assert_array_equal(image.get_array(), example.crops[STANDING[place]])
    np.testing.assert_array_equal(matrix.images[0].get_array(), example.relation)
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], example.relation.mean(axis=0), atol=1e-6)
    colours = [bar.get_facecolor() for bar in bars.patches]
    assert colours[2] != colours[0]
    assert colours[4] not in (colours[0], colours[2]), "the frame that stands in"
    assert colours.count(colours[0]) == 4
    assert mpl.colors.to_rgba(framed.get_edgecolor()) == colours[2]


@pytest.mark.parametrize("frames", [1, 16, 40])
@pytest.mark.parametrize("substituted", [False, True])
def test_relations_of_any_number_of_frames(frames: int, substituted: bool) -> None:
    frame_source = np.arange(frames) if substituted else None
    if frame_source is not None and frames > 5:
        frame_source[[3, frames - 2]] = 0
    example = some_relation(frames, frame_source, real=max(frames - 1, 1))
    figure = relation_figure(example)
    strip = figure.axes[int(substituted)]
    labels = [int(tick.get_text()) for tick in strip.get_xticklabels()]
    assert len(labels) == min(frames, 16), "what does not fit is thinned out"
    if substituted and frames > 5:
        assert len(strip.patches) - (frames <= 16) == 2, "no replaced frame is thinned out; one may have no crop"
    assert len(png(figure)) > 1000
    if frames > 1:
        np.testing.assert_allclose(example.means[:-1], example.relation[:-1, :-1].mean(axis=0), atol=1e-6)


def test_a_relation_is_loaded_with_the_frames_that_the_model_saw(run: RunFolder, tmp_path: Path) -> None:
    outputs = related(run)
    table = PredictionTable.read(run.predictions("test"))
    index = outputs.frame_index.copy()
    index[2, -2:] = -1  # padded
    outputs = replace(outputs, frame_index=index)
    clip_id = outputs.clip_id[2]
    example = load_relation(clip_id, table, outputs, ClipStore(tmp_path / "store").open(clip_id))
    assert outputs.relation is not None
    np.testing.assert_array_equal(example.relation[:4, :4], outputs.relation[2, :4, :4])
    assert np.isnan(example.relation[4:]).all()
    assert np.isnan(example.relation[:, 4:]).all()
    assert example.present.tolist() == [True] * 4 + [False] * 2
    assert example.replaced.tolist() == [False, False, True, False, False, False]
    stored = ClipStore(tmp_path / "store").open(clip_id)
    with pytest.raises(ValueError, match="does not say how frames relate"):
        load_relation(clip_id, table, replace(outputs, relation=None), stored)


def test_fewer_examples_hold_a_wrong_one() -> None:
    table = some_table()
    chosen = choose_examples(table, some_outputs(table), 3, 1)
    rows = [table.clip_id.tolist().index(clip_id) for clip_id in chosen]
    assert len(rows) == 4
    assert table.correct[rows].tolist() == [True, True, True, False]


def test_curves_take_the_last_value_of_an_epoch(run: RunFolder) -> None:
    curves = {curve.name: curve for curve in read_curves(run.curves)}
    assert curves["inner/loss"].epoch.tolist() == [0, 1, 2]
    assert curves["inner/loss"].value.tolist() == [1.9, 1.5, 1.4]
    assert curves["lr-Adam"].epoch.tolist() == [0]
    assert "step" not in curves


def test_people_read_epochs_counted_from_one(run: RunFolder) -> None:
    """Files count from 0: `run.json` names epoch 2, the table holds epochs 0 to 2."""
    page_of(run)
    html = run.report.read_text()
    assert "(epoch 3)" in html
    assert "epochs are counted from 1" in html
    loss = curves_figure(read_curves(run.curves), chosen=2).axes[0]
    drawn = {str(line.get_label()): list(line.get_xdata()) for line in loss.lines}
    assert drawn["inner/loss"] == [1, 2, 3]
    assert [3, 3] in drawn.values(), "the dotted line of the chosen epoch"


def test_tsne_is_repeatable_and_refuses_too_few_clips() -> None:
    feature = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    np.testing.assert_array_equal(tsne(feature), tsne(feature))
    for useless in (feature[:3], np.ones((30, 4), np.float32), np.full((30, 4), np.nan, np.float32)):
        with pytest.raises(ValueError, match=r"too few|finite and not all the same"):
            tsne(useless)


def test_the_summary_line() -> None:
    table = some_table()
    found, intervals = scores(table), bootstrap(table)
    expected = f"WAR {found[WAR]:.3f} {intervals[WAR]:.3f}  UAR {found[UAR]:.3f} {intervals[UAR]:.3f}"
    assert summary_line(table) == f"{expected}  N = 24 clips of 6 subjects (95 % bootstrap over subjects)"
    alone = table.select(np.arange(4))
    assert summary_line(alone).endswith("N = 4 clips of 1 subject (no interval: it needs at least two subjects)")
    assert "[" not in summary_line(alone)
    assert summary_line(table.select(np.array([0]))).split("N = ")[1].startswith("1 clip of 1 subject (")
    again = table.select(table.subject == table.subject[0])
    object.__setattr__(again, "seed", again.seed + 1)
    partial = summary_line(PredictionTable.concat([table, again]))
    assert partial.endswith("(no interval: not all seeds have clips of all subjects, as where folds are missing)")


def every_fourth_wrong(subjects: list[str]) -> PredictionTable:
    """A clip for each of these subjects; the first is wrong, the next three are right, and so on."""
    rows = np.arange(len(subjects))
    empty, zero = np.full(len(rows), ""), np.zeros(len(rows))
    return PredictionTable(
        NAMES,
        clip_id=np.array([f"c{row}" for row in rows]),
        subject=np.array(subjects),
        group=empty,
        split=np.full(len(rows), "test"),
        fold=np.full(len(rows), "1"),
        seed=zero,
        emotion=np.array(NAMES)[rows % 4],
        probabilities=np.eye(4)[np.where(rows % 4, rows % 4, 1)],
        coverage=zero,
        reason=empty,
    )


@pytest.mark.parametrize(
    ("clips", "people", "expected"),
    [
        (60, 12, ""),
        (60, 9, "60 clips of 9 subjects. WAR is 0.750 here; on other subjects, WAR may well be anywhere in [0."),
        (48, 12, "48 clips of 12 subjects. WAR is 0.750 here"),
        (4, 1, "no interval: it needs at least two subjects. A result to rely on needs 50 clips or more"),
        (4, 0, "4 clips. WAR is 0.750 here; on other clips, WAR may well be anywhere in [0."),
    ],
)
def test_few_clips_or_people_are_warned_of(clips: int, people: int, expected: str) -> None:
    subjects = [f"s{i % people}" if people else "" for i in range(clips)]
    table = every_fourth_wrong(subjects)
    note = few_note(table)
    assert expected in note if expected else note == ""
    assert result_lines(table) == ((summary_line(table), f"warning: {note}") if expected else (summary_line(table),))


def test_where_all_clips_are_right_no_interval_is_claimed() -> None:
    table = every_fourth_wrong([*"abcd"]).select(np.array([1, 2, 3]))
    assert "on other" not in few_note(table)
    assert "all subjects have the same WAR, of which no interval can be made" in few_note(table)


def test_a_class_has_the_same_colour_in_the_map_as_in_timelines() -> None:
    names = ("neutral", "anger", "fear")
    legend = embedding_figure(np.zeros((3, 2), np.float32), names, names).legends[0]
    drawn = {
        text.get_text().split()[0]: mpl.colors.to_hex(handle.get_facecolor()[0], keep_alpha=False).upper()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert drawn == {"neutral": "#A6A6A6", "anger": "#D55E00", "fear": "#CC79A7"}


def test_curves_are_listed_as_a_table(reported: RunFolder) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", section(Page(""), reported, "curves"))
    cells = [re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", row) for row in rows]
    assert cells[0] == ["epoch", "train/loss", "train/war", "inner/loss", "inner/war", "inner/uar", "lr-Adam"]
    assert cells[1:] == [
        ["1", "1.8", "0.4", "1.9", "0.3", "0.3", "0.001"],
        ["2", "1.2", "0.6", "1.5", "0.5", "0.45", ""],
        ["3", "nan", "0.7", "1.4", "0.5", "0.5", ""],
    ]
