"""Protects cells of CSV tables, so that spreadsheets do not run text from file names or annotations as formulas."""

import re

FORMULA = re.compile(r"'*([=+@\t\r]|-.*[(|!])", re.DOTALL)
"""Text that a spreadsheet takes for a formula, with or without the apostrophe of `cell`. Many clip names begin with a
dash, which is harmless without a function call, so such names are not changed."""


def cell(text: str) -> str:
    """Returns the text, prefixed with an apostrophe (the spreadsheets' mark for text) if it looks like a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def text_of(written: str) -> str:
    """Returns the original text of a cell that `cell` wrote."""
    return written[1:] if written.startswith("'") and FORMULA.match(written) else written
