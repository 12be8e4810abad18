"""Text of the repository's own files in pages of the site, so that nothing is written twice.

A line `<!-- include: FILE -->` in a page stands for a file without its title, `<!-- include: FILE#HEADING -->` for the
section under that heading, and `<!-- include: FILE# -->` for what comes before the first section.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[2]
DOCS = "docs"
INCLUDE = re.compile(r"^<!-- include: (?P<file>[^#\s]+)(?P<section>#[^>]*?)? -->$", re.MULTILINE)
LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?P<after>\))")
LIST = re.compile(r"^(?P<before>(?![-*#|>\s]|\d+\. ).+\n)(?=(?:[-*]|1\.) )", re.MULTILINE)
"""The end of a paragraph before a list, between which GitHub needs no empty line, and Python's Markdown does."""
FENCE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"^(?:[a-z]+:|/|#)")


def with_included(markdown: str, page: str, homes: dict[str, str]) -> str:
    """Returns a page's text with the included files in their places, and links between files as links between pages.

    Args:
        markdown: the page.
        page: its path in `docs/`.
        homes: path of a file in the repository -> path of the page in `docs/` that shows it.

    Raises:
        PluginError: a file, a section or the page that a link needs does not exist.
    """

    def part(match: re.Match[str]) -> str:
        text = read(match["file"], match["section"])
        return relinked(text, posixpath.dirname(match["file"]), page, homes)

    own = posixpath.join(DOCS, posixpath.dirname(page))
    return INCLUDE.sub(part, relinked(markdown, own, page, homes))


def read(file: str, section: str | None) -> str:
    """Returns a file without its title, or one of its sections with the headings a level higher than the file has them.

    Raises:
        PluginError: the file or the section does not exist.
    """
    path = ROOT / file
    if not path.is_file():
        raise PluginError(f"<!-- include: {file} -->: there is no such file in the repository")
    body = re.sub(r"\A# .*\n", "", path.read_text(encoding="utf-8"))
    if section is None:
        return body
    parts = re.split(r"^## (.*)$", body, flags=re.MULTILINE)  # what comes first, then a heading and a text in turn
    sections = dict(zip(parts[1::2], parts[2::2], strict=True)) | {"": parts[0]}
    if section[1:] not in sections:
        raise PluginError(f"{file} has no section {section[1:]!r}; it has {', '.join(filter(None, sections))}")
    return sections[section[1:]]


def relinked(text: str, folder: str, page: str, homes: dict[str, str]) -> str:
    """Returns Markdown from a folder of the repository with its links to files as links from a page.

    Raises:
        PluginError: a link leads to a file outside of `docs/` that no page shows.
    """

    def link(match: re.Match[str]) -> str:
        if ELSEWHERE.match(match["target"]):
            return match[0]
        file = posixpath.normpath(posixpath.join(folder, match["target"]))
        home = homes.get(file) or (file.removeprefix(f"{DOCS}/") if file.startswith(f"{DOCS}/") else None)
        if home is None:
            raise PluginError(f"{page}: the link to {file} leads out of the site, and no page shows that file")
        target = posixpath.relpath(home, posixpath.dirname(page) or ".")
        return f"{match['before']}{target}{match['anchor'] or ''}{match['after']}"

    pieces, end = [], 0
    for code in FENCE.finditer(text):
        pieces += [LINK.sub(link, text[end : code.start()]), code[0]]
        end = code.end()
    return spaced("".join([*pieces, LINK.sub(link, text[end:])]))


def spaced(text: str) -> str:
    """Returns Markdown with an empty line between a paragraph and a list that follows it, code left as it is."""
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(each if each.startswith("```") else LIST.sub(r"\g<before>\n", each) for each in blocks)


def homes_of(pages: dict[str, str]) -> dict[str, str]:
    """Returns the page that shows each file: the one that includes all of it, else the first that includes a part.

    Args:
        pages: path in `docs/` -> text.
    """
    found = [
        (match["section"] is not None, match["file"], page)
        for page, text in pages.items()
        for match in INCLUDE.finditer(text)
    ]
    homes: dict[str, str] = {}
    for _, file, page in sorted(found, key=lambda each: (each[0], each[2] != "index.md")):
        homes.setdefault(file, page)
    return homes
