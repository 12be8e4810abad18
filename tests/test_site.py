"""The documentation: built strictly, without a network, from the repository's own texts."""

import os
import re
import subprocess
import sys
import zlib
from html import unescape
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from fer_lightning.cli.main import COMMANDS
from fer_lightning.tables.table import group_of, known_tables, read_table

pytest.importorskip("mkdocs")  # the extra `docs`

ROOT = Path(__file__).parents[1]
MODULES = ("fer_lightning", "fer_lightning.layers", "fer_lightning.ensemble", "data_modules", "data_modules.datasets")
REMOTE = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^>]*>")


@pytest.fixture
def included(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    return import_module("included")


def test_parts_of_files_are_included_and_links_lead_to_pages(included, tmp_path, monkeypatch):
    monkeypatch.setattr(included, "ROOT", tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "A.md").write_text(
        "# Title\nFirst, see [b](../B.md#there).\n\n## One\n![picture](../docs/a.png) and [web](https://x.org)\n\n"
        "## Two\nThings:\n- `[code](none.md)`\n- more\n```\na\n- b\n```\n"
    )
    pages = {
        "start.md": "<!-- include: notes/A.md# -->\n[two](guides/two.md)",
        "guides/two.md": "# Two\n<!-- include: notes/A.md#One -->\n<!-- include: notes/A.md#Two -->",
        "guides/b.md": "<!-- include: B.md -->",
    }
    homes = included.homes_of(pages)
    made = {page: included.with_included(text, page, homes) for page, text in pages.items() if page != "guides/b.md"}
    assert made["start.md"] == "First, see [b](guides/b.md#there).\n\n\n[two](guides/two.md)"
    assert made["guides/two.md"] == (
        "# Two\n\n![picture](../a.png) and [web](https://x.org)\n\n\n\n"
        "Things:\n\n- `[code](none.md)`\n- more\n```\na\n- b\n```\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- include: none.md -->", "no such file"),
        ("<!-- include: CONTRIBUTING.md#None -->", r"no section 'None'; it has Set up and check, "),
        ("[the code](../pyproject.toml)", "no page shows that file"),
    ],
)
def test_what_leads_nowhere_is_an_error(included, text, message):
    from mkdocs.exceptions import PluginError

    with pytest.raises(PluginError, match=message):
        included.with_included(text, "index.md", {})


@pytest.mark.parametrize(
    ("link", "status"), [("index.md#here", 0), ("none.md", 1), ("#none", 1), ("index.md#none", 1), ("/index.md", 1)]
)
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path, link, status):
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    small = {"hooks": [], "plugins": [], "theme": "mkdocs", "extra_css": [], "nav": ["index.md"]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings | small))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n## Here\n[link]({link})\n")
    build = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, check=False)
    assert build.returncode == status


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=600)
    return folder


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", page.read_text())))


@pytest.mark.slow
def test_every_public_name_command_and_table_has_its_place(site):
    names = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    documented = {line.split()[0] for line in names.splitlines()}
    for module in MODULES:
        offered = {name for name in import_module(module).__all__ if not name.startswith("_")}
        assert {f"{module}.{name}" for name in offered} <= documented, module

    commands = (site / "reference" / "commands.html").read_text()
    assert {f"fer-{name}" for name in COMMANDS} <= set(re.findall(r"<h2 id=\"([\w-]+)\"", commands))
    for option in (
        "--abstain RISK",
        "--no-calibration",
        "--job-options KEY=VALUE",
        "--shard I/N",
        "--classes DATA",
        "--trainer.max_epochs VALUE",
    ):
        assert option in text_of(site / "reference" / "commands.html")

    for name in known_tables():
        page = text_of(site / "papers" / f"{group_of(name)}.html")
        table = read_table(name)
        assert table.title in page
        assert f"make reproduce TABLE={name} " in page
        labels = [re.sub(r"\s+", " ", row.display_name) for row in table.rows]
        assert [label for label in labels if label not in page] == []


@pytest.mark.slow
def test_pages_hold_what_they_include_and_ask_no_other_machine(site):
    assert "<blockquote>" not in (site / "reference" / "models.html").read_text()  # examples are code
    assert "It does not know what a person feels" in text_of(site / "reference" / "faces.html")
    assert "share of the row's frames in which the face is seen" in text_of(site / "guides" / "columns.html")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text()
        assert not REMOTE.findall(text), page
        assert not re.search(r"<!-- (include|made|api):", text), page
