"""Recipes for pandas, R and SPSS that compute the share of time of each expression from the table of all videos."""

import re
from collections.abc import Iterator, Sequence

from data_modules.labels import SEVEN
from fer_lightning.evaluation.predictions import PREFIX
from fer_lightning.predict.data_dictionary import COLUMNS
from fer_lightning.predict.video_files import ALL_ROWS

FORMATS = {"text": "A255", "whole number": "F8.0", "0 or 1": "F1.0"}
"""Formats of SPSS by the units of columns."""
NUMBER = "F12.5"  # of all other units

RECIPES = """
The recipes compute for how many seconds each expression is seen in a video, and which share of the time with an
expression that is; rows with a reason, such as those that are unsure, have none. They take the people of a video
together; to tell them apart, group by `folder` and `person`.

## pandas
```python
import pandas as pd

rows = pd.read_csv("{table}")
rows["seconds"] = rows.end - rows.start
known = rows[rows.reason.isna()]
time = known.pivot_table(index="folder", columns="expression", values="seconds", aggfunc="sum", fill_value=0)
shares = time.div(time.sum(axis=1), axis=0)
```

## R
```r
rows <- read.csv("{table}", na.strings = "", encoding = "UTF-8")
rows$seconds <- rows$end - rows$start
known <- rows[is.na(rows$reason), ]
time <- xtabs(seconds ~ folder + expression, known)
shares <- prop.table(time, 1)
```

## SPSS
```spss
SET DECIMAL=DOT.
GET DATA /TYPE=TXT /FILE="{table}" /ENCODING="UTF8" /ARRANGEMENT=DELIMITED /DELIMITERS="," /QUALIFIER='"'
  /FIRSTCASE=2 /VARIABLES=
{variables}.
COMPUTE seconds = end - start.
SELECT IF reason = " ".
AGGREGATE /OUTFILE=* /BREAK=folder expression /time=SUM(seconds).
AGGREGATE /OUTFILE=* MODE=ADDVARIABLES /BREAK=folder /total=SUM(time).
COMPUTE share = time / total.
EXECUTE.
```
It names the columns of this table. SPSS looks for the file in its working folder: name that with `CD "..."` first.
"""


def recipes(class_names: Sequence[str] = SEVEN) -> str:
    """Returns the recipes as Markdown, for a table with a column for each of these classes."""
    return RECIPES.format(table=ALL_ROWS, variables="\n".join(_variables(class_names)))


def _variables(class_names: Sequence[str]) -> Iterator[str]:
    """Yields the name of each column, as SPSS allows it, with its format."""
    for name, unit, _ in COLUMNS:
        names = [PREFIX + each for each in class_names] if name.startswith(PREFIX) else [name]
        yield from (f"    {re.sub(r'[^0-9A-Za-z_]', '_', each)} {FORMATS.get(unit, NUMBER)}" for each in names)
