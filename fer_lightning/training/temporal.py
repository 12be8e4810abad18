"""Predicts the reported split with its frames in another order, for the section "Is it temporal?" of a report."""

from collections import defaultdict

import torch

from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.evaluation.collect import prediction_table
from fer_lightning.evaluation.frame_order import ORDERS, in_order
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import autocast


def predict_in_orders(model: VideoClassifier, data: VideoDataModule, precision: str) -> dict[str, PredictionTable]:
    """Predicts every clip of the reported split once in each of `ORDERS`, on a GPU if there is one.

    Every clip is loaded once for all of them. `apex` is left out where the intensity is not known.

    Args:
        model: the trained model.
        data: its data.
        precision: in which the model is evaluated, as Lightning's trainer names it.

    Returns:
        Name of an order -> predictions; nothing if no clip has more than one frame, or there is none.
    """
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    parts: dict[str, list[ClipPredictions]] = defaultdict(list)
    for loaded in data.loader(data.clip_dataset("test", cached=False)):  # some cached features are of whole clips
        if loaded.mask.shape[1] < 2:
            continue
        batch = loaded.to(model.device)
        for name in ORDERS if batch.intensity is not None else [name for name in ORDERS if name != "apex"]:
            with torch.inference_mode(), autocast(model.device, precision):
                parts[name].append(model.predict_clips(in_order(batch, name))[0].to("cpu"))
    clips = data.split("test")
    complete = sum(clip.usable for clip in clips)
    return {
        name: prediction_table(clips, predicted, model.class_names, data.seed)
        for name, predicted in parts.items()
        if sum(len(part.clip_id) for part in predicted) == complete
    }
