"""VideoMAE and MAE-DFER: published counts, last layers of authors' files, and rates that fall from layer to layer."""

import re

import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning import PyramidTransformer, VideoMAE, VideoTransformer, random_batch
from fer_lightning.training.cost import count_parameters, multiply_adds
from tests.layers.test_video_transformer import JOINT, REGIONAL, fine_tuned, pre_training, randomised
from tests.models import Case
from tests.models import random_batch as labelled_batch

DFEW_ORDER = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
LGI = {"width": 512, "depth": 16, "heads": 8, "attention": "local_global"}
SIX = {"frames": 6}  # of the contract's clips


def small(options=JOINT, frozen=False, **model) -> VideoMAE:
    return VideoMAE(SEVEN, VideoTransformer(**(options | SIX), drop_path=0.0), frozen, **model)


def pyramid() -> PyramidTransformer:
    return PyramidTransformer(**SIX, size=32, width=12, depths=(2, 2), heads=2, bottleneck=3, step=3, drop_path=0.0)


REGIONS = REGIONAL | {"region": (3, 1, 2)}
CONTRACT_CASES = {
    "VideoMAE": Case(small, any_length=False),
    "VideoMAE of regions": Case(lambda: small(REGIONS), any_length=False),
    "VideoMAE with MiRA": Case(lambda: small(JOINT | {"mira": 2}), any_length=False),
    "VideoMAE of a pyramid": Case(lambda: VideoMAE(SEVEN, pyramid()), any_length=False),
    "VideoMAE of a frozen transformer": Case(lambda: small(frozen=True), any_length=False, freezes=True),
}


@pytest.mark.parametrize(
    ("options", "parameters", "multiply_adds_in_g"),
    [
        ({}, 86_232_583, 81),  # MAE-DFER, table 12: 86 M and 81 G; the count by hand below
        ({"size": 224}, 86_232_583, 180),  # VideoMAE, its comparison on Kinetics-400: 180 G
        (LGI, 84_878_343, 50),  # logs/dfew.out: "number of params: 84878343"; MAE-DFER, table 12: 50 G
    ],
)
def test_parameters_and_multiply_adds_are_the_published_ones(options, parameters, multiply_adds_in_g):
    with torch.device("meta"):
        model = VideoMAE(SEVEN, VideoTransformer(**options)).eval()
    batch = random_batch(clips=1, size=options.get("size", 160)).to(torch.device("meta"))
    assert count_parameters(model) == parameters
    tokens = 8 * (options.get("size", 160) // 16) ** 2
    attention = 12 * 2 * tokens**2 * 768  # torch's counter misses it on some devices
    if options is LGI:  # eight regions of 100 tokens and their own
        attention = 16 * 2 * (8 * 101**2 + 8**2 + 800 * 8) * 512
    found = multiply_adds(model, batch)
    assert multiply_adds_in_g in (round(found / 1e9), round((found + attention) / 1e9))


def test_the_parameters_of_svfap_are_those_of_its_authors_module():
    """Theirs (modeling_finetune.py, svfap_base_patch16_160 with seven classes) has 77,635,351, counted here by hand."""
    width, hidden = 512, 128
    attention = 4 * width**2 + 3 * width  # no bias of keys
    block = attention + 8 * width**2 + 5 * width + 2 * 2 * width
    cross = block + attention + 2 * 2 * width
    stage = 2 * width**2 + width + 2 * width + width * hidden + hidden + hidden * 8 + 8
    counted = (1536 + 1) * width + 12 * block + 9 * cross + 2 * stage + 2 * width + (width + 1) * 7
    with torch.device("meta"):
        model = VideoMAE(SEVEN, PyramidTransformer())
    assert count_parameters(model) == counted == 77_635_351


def test_the_parameters_of_vit_b_are_those_counted_by_hand():
    block = 768 * 3 * 768 + 2 * 768 + (768 + 1) * 768 + 2 * 4 * 768**2 + 5 * 768 + 4 * 768
    assert (3 * 2 * 256 + 1) * 768 + 12 * block + 2 * 768 + 769 * 7 == 86_232_583


def load(model: VideoMAE) -> VideoMAE:
    for part in model.pretrained():
        part.load_weights()
    return model.eval()


def with_file(path, last_layer=DFEW_ORDER, class_names=SEVEN) -> VideoMAE:
    return VideoMAE(class_names, VideoTransformer(str(path), **JOINT), last_layer=last_layer)


def test_the_last_layer_of_a_fine_tuned_file_is_put_into_the_order_of_our_classes(tmp_path):
    content = fine_tuned(randomised(VideoTransformer(**JOINT)).float())
    torch.save(content, tmp_path / "fd1.pth")
    model, batch = load(with_file(tmp_path / "fd1.pth")), random_batch(frames=4)
    output = model(batch)
    theirs = output.feature @ content["model"]["head.weight"].T + content["model"]["head.bias"]
    for place, name in enumerate(DFEW_ORDER):
        torch.testing.assert_close(output.logits[:, SEVEN.index(name)], theirs[:, place])
    new = load(with_file(tmp_path / "fd1.pth", last_layer=None))
    torch.testing.assert_close(new(batch).feature, output.feature)
    assert new.head.weight.abs().max() < 1e-3


def test_last_layers_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "k400.pth"
    torch.save(fine_tuned(VideoTransformer(**JOINT), classes=400), path)
    with pytest.raises(ValueError, match=re.escape("last layer of [(400, 12), (400,)]; expected 7 rows of 12")):
        load(with_file(path))
    torch.save(pre_training(VideoTransformer(**JOINT)), path)
    with pytest.raises(ValueError, match=re.escape("last layer of [None, None]")):
        load(with_file(path))
    with pytest.raises(
        ValueError, match=r"last_layer has the classes happiness, .*expected those of the data, anger, joy"
    ):
        with_file(path, class_names=("anger", "joy"))


@pytest.mark.parametrize("options", [JOINT, REGIONAL])
def test_rates_fall_from_the_last_layer_to_the_first(options):
    def sgd(groups):
        return torch.optim.SGD(groups, lr=0.4, weight_decay=0.1)

    model = VideoMAE(SEVEN, VideoTransformer(**options), layer_decay=0.5, optimizer=sgd)
    optimizer = model.configure_optimizers()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        assert "lr_scale" not in group
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert found.keys() == {name for name, value in model.named_parameters() if value.requires_grad}
    first = "within" if options is REGIONAL else "attention"
    assert found["head.weight"] == pytest.approx((0.4, 0.1))
    assert found["head.bias"] == found["backbone.norm.weight"] == pytest.approx((0.4, 0.0))
    assert found["backbone.blocks.1.mlp.0.weight"] == pytest.approx((0.2, 0.1))
    assert found[f"backbone.blocks.0.{first}.query.bias"] == pytest.approx((0.1, 0.0))
    assert found["backbone.embed.weight"] == pytest.approx((0.05, 0.1))
    if options is REGIONAL:
        assert found["backbone.region_tokens"] == pytest.approx((0.4, 0.0))
    assert optimizer.param_groups[0]["lr"] == 0.4  # the one that is logged
    alike = VideoMAE(SEVEN, VideoTransformer(**options), layer_decay=None, optimizer=sgd).configure_optimizers()
    assert [(group["lr"], group["weight_decay"]) for group in alike.param_groups] == [(0.4, 0.1)]


def test_a_frozen_transformer_leaves_the_last_layer_to_the_optimiser():
    model = small(frozen=True, optimizer=torch.optim.SGD)
    groups = model.configure_optimizers().param_groups
    assert sum(parameter.numel() for group in groups for parameter in group["params"]) == 13 * 7


def test_a_run_gives_its_transformer_to_another_model(tmp_path):
    torch.manual_seed(0)
    run = VideoMAE(SEVEN, VideoTransformer(**JOINT)).eval()
    content = {"state_dict": run.state_dict()}
    run.on_save_checkpoint(content)
    torch.save(content, tmp_path / "run.ckpt")
    other = load(VideoMAE(("anger", "joy"), VideoTransformer(str(tmp_path / "run.ckpt"), **JOINT)))
    batch = labelled_batch(2, 4)
    torch.testing.assert_close(other(batch).feature, run(batch).feature)
