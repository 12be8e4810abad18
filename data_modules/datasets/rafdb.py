"""RAF-DB (Li, Deng and Du, CVPR 2017), basic emotions: 15 339 web images, aligned to 100² pixels by the authors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount
from data_modules.datasets.stills import StillDataset, row_error
from data_modules.faces.settings import FaceSettings
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord

CODES = {1: SURPRISE, 2: FEAR, 3: DISGUST, 4: HAPPINESS, 5: SADNESS, 6: ANGER, 7: NEUTRAL}
LIST = Path("EmoLabel", "list_patition_label.txt")  # the data set's own spelling
IMAGES = Path("Image", "aligned")
ROW = re.compile(r"((train|test)_\d+)\.jpg\s+([1-7])")


@dataclass
class RAFDB(StillDataset):
    """Aligned faces; the root holds `EmoLabel` and `Image`, or the archive's folder `basic` that contains them."""

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=224, margin=0.0))

    name: ClassVar[str] = "rafdb"
    licence: ClassVar[str] = "for non-commercial research, on request"
    how_to_get: ClassVar[str] = "ask its authors, as http://www.whdeng.cn/RAF/model1.html says."
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("train", 12271), SplitCount("test", 3068))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Seven emotions."""
        return SEVEN

    def read(self) -> Iterator[VideoRecord]:
        """Yields the images in the order of the list."""
        part = Path("basic") if (self.folder / "basic" / LIST).is_file() else Path()
        for path in (part / LIST, part / IMAGES):
            if not (self.folder / path).exists():
                raise self.not_found(str(path))
        listed = self.folder / part / LIST
        with listed.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                match = ROW.fullmatch(text.strip())
                if match is None:
                    raise row_error(listed, line, text.strip(), "such as `train_00001.jpg 5` with a label from 1 to 7")
                name, split, code = match.groups()
                yield VideoRecord(name, str(part / IMAGES / f"{name}_aligned.jpg"), CODES[int(code)], split=split)
