"""What mkdocs calls while it builds the site: the pages that are made, not written."""

import re
from functools import cache
from pathlib import Path

from api import with_api
from commands import commands_page
from included import homes_of, with_included
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from papers import paper_pages

from fer_lightning.predict.data_dictionary import COLUMNS, INTRODUCTION
from fer_lightning.predict.recipes import recipes
from fer_lightning.tables.scaling_page import PAPERS as PAPER_MODELS
from fer_lightning.tables.scaling_page import gpu_steps_table, measured_table, papers_table

PAPERS = "Papers"
"""The part of the navigation that gets a page for each paper."""
MADE = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)


@cache
def papers() -> dict[str, tuple[str, str]]:
    """The pages of papers: path -> title and text."""
    return paper_pages()


@cache
def homes(folder: str) -> dict[str, str]:
    """The page that shows each file of the repository."""
    return homes_of({str(path.relative_to(folder)): path.read_text() for path in sorted(Path(folder).rglob("*.md"))})


def columns() -> str:
    """Returns the data dictionary of the tables of `fer predict`."""
    rows = [f"| `{name}` | {unit} | {meaning} |" for name, unit, meaning in COLUMNS]
    body = re.sub(r"\A# .*\n", "", INTRODUCTION)
    return "\n".join([body.strip(), "", "| column | unit | meaning |", "|---|---|---|", *rows, recipes()])


PARTS = {
    "commands": commands_page,
    "columns": columns,
    "measured_scaling": measured_table,
    "gpu_scaling": lambda: gpu_steps_table(PAPER_MODELS),
    "paper_scaling": lambda: papers_table(PAPER_MODELS),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages of papers into the navigation."""
    part = next(each for each in config.nav or [] if PAPERS in each)
    part[PAPERS] += [{title: path} for path, (title, _) in papers().items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of papers."""
    for path, (_, text) in papers().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fills in what a page includes."""
    text = MADE.sub(lambda match: PARTS[match[1]](), markdown)
    return with_api(with_included(text, page.file.src_uri, homes(config.docs_dir)))
