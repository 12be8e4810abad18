"""Cells of tables that spreadsheets open: text from file names and annotations must not become a formula there."""

import re

FORMULA = re.compile(r"'*([=+@\t\r]|-.*[(|!])", re.DOTALL)
"""What a spreadsheet takes for a formula, or what `cell` made of that. A dash alone begins many names of clips, and
computes nothing without a call, so that such names stay as they are."""


def cell(text: str) -> str:
    """The text with an apostrophe before it, the spreadsheets' sign for text, where they would compute it."""
    return f"'{text}" if FORMULA.match(text) else text


def text_of(written: str) -> str:
    """The text that `cell` was given."""
    return written[1:] if written.startswith("'") and FORMULA.match(written) else written
