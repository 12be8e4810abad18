"""Expressions as annotations for other programs: ELAN (https://archive.mpi.nl/tla/elan) and subtitles (WebVTT).

Formats: https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf and https://www.w3.org/TR/webvtt1/. Times
are those of players, which may start counting before the first picture.
"""

import html
import mimetypes
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

from data_modules.utils.text import printable_line
from data_modules.video.container import start_of_pictures
from fer_lightning.predict.expressions import VideoExpressions
from fer_lightning.predict.page import address

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
TYPE = "default-lt"  # ELAN's own name of an ordinary tier's type


def webvtt(expressions: VideoExpressions) -> bytes:
    """Returns subtitles: a cue for each stretch of one expression, with its mean confidence.

    Of several people, each cue names its person, and stretches without an expression have none.
    """
    offset = start_of_pictures(Path(expressions.video.path))
    note = printable_line(f"{expressions.label.summary} {expressions.label.origin}").replace("-->", "->")
    blocks = ["WEBVTT", f"NOTE {note}"]
    people = expressions.people
    cues = [(stretch, person.number) for person in people for stretch in person.timeline.stretches]
    if len(people) > 1:
        cues = [(stretch, number) for stretch, number in cues if stretch.confidence is not None]
    for stretch, number in sorted(cues, key=lambda cue: (cue[0].start, cue[1])):
        share = "" if stretch.confidence is None else f" {100 * stretch.confidence:.0f} %"
        text = f"person {number}: " * (len(people) > 1)
        text += html.escape(printable_line(stretch.expression), quote=False) + share
        blocks.append(f"{_clock(stretch.start + offset)} --> {_clock(stretch.end + offset)}\n{text}")
    return ("\n\n".join(blocks) + "\n").encode()


def elan(expressions: VideoExpressions, folder: Path) -> bytes:
    """Returns a document of ELAN: tiers with each person's stretches of one expression, and their mean confidence.

    Args:
        expressions: of the video.
        folder: in which the document will be, as it refers to the video.
    """
    label, path = expressions.label, Path(expressions.video.path)
    document = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": f"fer_lightning {label.version}",
            "DATE": f"{label.date}T00:00:00+00:00",
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{INSTANCE}}}noNamespaceSchemaLocation": SCHEMA,
        },
    )
    ElementTree.register_namespace("xsi", INSTANCE)
    header = ElementTree.SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    media = {
        "MEDIA_URL": path.absolute().as_uri(),
        "MIME_TYPE": mimetypes.guess_type(path.name)[0] or "video/*",
        "RELATIVE_MEDIA_URL": f"./{address(path, folder)}",
    }
    if path.exists():  # frames in memory have no file
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", media)
    for name, text in (("model", label.summary), ("origin", label.origin)):
        ElementTree.SubElement(header, "PROPERTY", {"NAME": f"fer_lightning:{name}"}).text = printable_line(text)
    _add_tiers(document, expressions, start_of_pictures(path))
    ElementTree.SubElement(
        document,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": TYPE, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"},
    )
    ElementTree.indent(document)
    content: bytes = ElementTree.tostring(document, encoding="UTF-8", xml_declaration=True)
    return content


def _add_tiers(document: ElementTree.Element, expressions: VideoExpressions, offset: float) -> None:
    """Adds the times, then the tiers that refer to them, as the schema orders them."""
    times = ElementTree.SubElement(document, "TIME_ORDER")
    people, numbers = expressions.people, count(1)
    stretches = {person.number: person.timeline.stretches for person in people}
    edges = sorted({edge for parts in stretches.values() for part in parts for edge in (part.start, part.end)})
    slots = {seconds: f"ts{number}" for number, seconds in enumerate(edges)}
    for seconds, identifier in slots.items():
        slot = {"TIME_SLOT_ID": identifier, "TIME_VALUE": str(round(1000 * (seconds + offset)))}
        ElementTree.SubElement(times, "TIME_SLOT", slot)
    for person, parts in stretches.items():
        values = {
            "expression": [part.expression for part in parts],
            "confidence": ["" if part.confidence is None else f"{part.confidence:.3f}" for part in parts],
        }
        for name, texts in values.items():
            tier = {
                "TIER_ID": f"{name} {person}" if len(people) > 1 else name,
                "LINGUISTIC_TYPE_REF": TYPE,
                "PARTICIPANT": f"person {person}",
                "ANNOTATOR": "fer_lightning",
            }
            parent = ElementTree.SubElement(document, "TIER", tier)
            for part, text in zip(parts, texts, strict=True):
                if text:
                    aligned = ElementTree.SubElement(
                        ElementTree.SubElement(parent, "ANNOTATION"),
                        "ALIGNABLE_ANNOTATION",
                        {
                            "ANNOTATION_ID": f"a{next(numbers)}",
                            "TIME_SLOT_REF1": slots[part.start],
                            "TIME_SLOT_REF2": slots[part.end],
                        },
                    )
                    ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = printable_line(text)


def _clock(seconds: float) -> str:
    """Formats a time as WebVTT wants it, such as 01:02:03.456."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
