"""The page of `fer live`."""

from fer_lightning.live.request import LiveRequest
from fer_lightning.predict.page import TEMPLATES, palette
from fer_lightning.predict.recogniser import Recogniser
from fer_lightning.predict.settings import NO_FACE
from fer_lightning.report.figures.style import PERSON_COLOURS
from fer_lightning.report.html import render, script_json

UNHEARD = (
    "The model also hears, but nothing is listened to here: it judges faces alone, as in a video without sound, where "
    "its results may be others."
)
TEMPLATE = TEMPLATES / "live.html"


def live_page(recogniser: Recogniser, request: LiveRequest) -> str:
    """Returns the page, which asks for the camera unless a file or a stream is read; nothing is loaded from a network.

    Args:
        recogniser: the model.
        request: the arguments of the call.
    """
    settings = recogniser.settings
    seen = "each picture" if recogniser.sees_single_frame else f"the last {settings.window:g} s"
    content = palette(recogniser.class_names) | {
        "missing": NO_FACE,
        "camera": None if request.source is not None else request.camera,
        "people": PERSON_COLOURS if recogniser.options.people == "all" else None,
    }
    return render(
        TEMPLATE,
        label=recogniser.label,
        source=request.source,
        out=str(request.out),
        everybody=recogniser.options.people == "all",
        unheard=UNHEARD if settings.model_facts.uses_audio else "",
        method=f"{settings.model_facts.model} judges {seen}; what is shown is the mean of {settings.hop:g} s. "
        f"{settings.confidence.describe()}",
        content=script_json(content),
    )
