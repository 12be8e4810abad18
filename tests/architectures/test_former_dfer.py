"""Former-DFER against a plain reference, and the authors' files, of whose form small ones are made here."""

import logging
import re
import sys
import zipfile

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from data_modules.labels import SEVEN
from fer_lightning import ConvolutionalSpatialTransformer, FormerDFER, FrameBackbone
from fer_lightning.architectures.former_dfer import SpatialEncoder
from fer_lightning.layers import TemporalTransformer
from fer_lightning.training.cost import count_parameters, multiply_adds
from tests.models import SMALL, Case, random_batch, small_backbone
from tests.plain_transformer import numbers, plain_block

FRAMES = 6
DFEW_ORDER = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")


def spatial(**options) -> ConvolutionalSpatialTransformer:
    sizes = {"channels": SMALL, "grid": 2, "heads": 2, "hidden": 12}
    return ConvolutionalSpatialTransformer("resnet10t", **(sizes | options))


def small(backbone: FrameBackbone | None = None, **options) -> FormerDFER:
    sizes = {"frames": FRAMES, "depth": 2, "heads": 2, "hidden": 12}
    return FormerDFER(SEVEN, backbone or spatial(), **(sizes | options))


CONTRACT_CASES = {
    "FormerDFER": Case(small, any_length=False),
    "FormerDFER without the spatial transformer": Case(lambda: small(small_backbone()), any_length=False),
    "FormerDFER without spatial encoders": Case(lambda: small(spatial(depth=0)), any_length=False),
    "FormerDFER without temporal encoders": Case(lambda: small(depth=0)),
}


def test_spatial_encoders_relate_the_places_of_a_map():
    torch.manual_seed(0)
    encoder = SpatialEncoder(12, 3, 2, 3, 20).double()
    maps = torch.randn(2, 12, 3, 3, dtype=torch.float64)
    found = encoder(maps).detach().numpy()
    for image in range(2):
        tokens = np.array([maps[image, :, row, column].numpy() for row in range(3) for column in range(3)])
        tokens = tokens + encoder.position[0].detach().numpy()
        for block in encoder.blocks:
            tokens = plain_block(numbers(block), tokens, np.ones(9, bool), 3)
        assert found[image].transpose(1, 2, 0).reshape(9, 12) == pytest.approx(tokens, abs=1e-10)


def test_the_spatial_transformer_stands_between_the_third_and_the_fourth_stage():
    """Beside torchvision's ResNet-18 with the same weights."""
    torch.manual_seed(0)
    backbone, plain = ConvolutionalSpatialTransformer(pixels="unit", grid=2).eval(), resnet18().eval()
    plain.load_state_dict(backbone.network.state_dict(), strict=False)
    images = random_batch(2, 1, 32).face[:, 0]
    x = plain.maxpool(plain.relu(plain.bn1(plain.conv1(images / 255))))
    x = plain.layer3(plain.layer2(plain.layer1(x)))
    assert x.shape == (2, 256, 2, 2)
    expected = plain.layer4(backbone.spatial(x)).mean(dim=(2, 3))
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-5)
    assert (plain.layer4(x).mean(dim=(2, 3)) - expected).abs().max() > 1e-2


def test_the_residual_branches_begin_as_torchvisions():
    assert all((block.bn2.weight == 1).all() for block in ConvolutionalSpatialTransformer().network.layer1)


def test_temporal_encoders_read_a_class_token_and_the_real_frames():
    torch.manual_seed(0)
    transformer = TemporalTransformer(12, 5, 2, 3, 20).double()
    frames = torch.randn(3, 5, 12, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [False, True, True, False, True], [False] * 5])
    found = transformer(frames, mask).detach().numpy()
    token, position = (value[0].detach().numpy() for value in (transformer.token, transformer.position))
    for clip in range(3):
        tokens = np.concatenate([token, frames[clip].numpy()]) + position
        visible = np.concatenate([[True], mask[clip].numpy()])
        for block in transformer.blocks:
            tokens = plain_block(numbers(block), tokens, visible, 3)
        assert found[clip] == pytest.approx(tokens[0], abs=1e-10)
    shorter = transformer(frames[:, :3], torch.ones(3, 3, dtype=torch.bool))
    assert shorter.shape == (3, 12)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"maps of 2 x 2; found one of 4 x 4: .* set data\.size to 16"):
        small()(random_batch(1, FRAMES, 64))
    with pytest.raises(ValueError, match="positions for 6 frames; found 7: set the model's `frames`"):
        small()(random_batch(1, 7))
    with pytest.raises(ValueError, match="between the stages of a ResNet; found densenet121"), torch.device("meta"):
        ConvolutionalSpatialTransformer("densenet121")


def test_parameters_are_those_counted_by_hand():
    def encoder(size: int, hidden: int) -> int:
        return 4 * size**2 + size + 2 * size * hidden + hidden + size + 4 * size

    spatial_encoder = encoder(256, 512) + 49 * 256
    temporal = 3 * encoder(512, 1024) + 17 * 512 + 512
    with torch.device("meta"):
        found = count_parameters(FormerDFER(SEVEN))
        assert found == 11_176_512 + spatial_encoder + temporal + 513 * 7 == 18_031_943
        assert count_parameters(FormerDFER(SEVEN, depth=0)) == found - temporal


def test_multiply_adds_are_those_counted_by_hand():
    resnet = 56**2 * 49 * 3 * 64 + 28**2 * 9 * 4 * 64**2  # the stem and the first stage, for 112²
    for channels, side in ((128, 14), (256, 7), (512, 4)):
        resnet += side**2 * (9 * 3 * channels**2 + (9 + 1) * channels**2 // 2)
    token = {size: 4 * size**2 + 2 * size * hidden for size, hidden in ((256, 512), (512, 1024))}
    layers = 16 * (resnet + 49 * token[256]) + 3 * 17 * token[512] + 512 * 7
    attention = 16 * 2 * 49**2 * 256 + 3 * 2 * 17**2 * 512  # torch's counter misses it on some devices
    with torch.device("meta"):
        model = FormerDFER(SEVEN).eval()
    found = multiply_adds(model, random_batch(1, 16, 112).to(torch.device("meta")))
    assert found in (layers, layers + attention)
    assert found / 1e9 == pytest.approx(8.3, abs=0.03)


# The authors' files


THEIRS = (  # our names -> those of models/ST_Former.py in the authors' code
    (r"^backbone\.network\.", "s_former."),
    (r"^backbone\.spatial\.position$", "s_former.pos_embedding"),
    (r"^backbone\.spatial\.blocks", "s_former.spatial_transformer.layers"),
    (r"^temporal\.position$", "t_former.pos_embedding"),
    (r"^temporal\.token$", "t_former.cls_token"),
    (r"^temporal\.blocks", "t_former.spatial_transformer.layers"),
    (r"norm1\.", "0.fn.norm."),
    (r"attention\.query_key_value\.", "0.fn.fn.to_qkv."),
    (r"attention\.output\.", "0.fn.fn.to_out.0."),
    (r"norm2\.", "1.fn.norm."),
    (r"mlp\.0\.", "1.fn.fn.net.0."),
    (r"mlp\.2\.", "1.fn.fn.net.3."),
    (r"^head\.", "fc."),
)
NAMES = {  # of some tensors, as they stand in the files
    "module.s_former.conv1.weight",
    "module.s_former.layer2.0.downsample.1.running_var",
    "module.s_former.pos_embedding",
    "module.s_former.spatial_transformer.layers.0.0.fn.norm.weight",
    "module.s_former.spatial_transformer.layers.0.0.fn.fn.to_qkv.weight",
    "module.s_former.spatial_transformer.layers.0.0.fn.fn.to_out.0.bias",
    "module.s_former.spatial_transformer.layers.0.1.fn.norm.bias",
    "module.s_former.spatial_transformer.layers.0.1.fn.fn.net.0.weight",
    "module.s_former.spatial_transformer.layers.0.1.fn.fn.net.3.weight",
    "module.t_former.cls_token",
    "module.t_former.pos_embedding",
    "module.t_former.spatial_transformer.layers.1.1.fn.fn.net.3.bias",
    "module.fc.weight",
    "module.fc.bias",
}


class RecorderMeter:
    """As in main_DFEW.py: what the files hold beside tensors."""

    def __init__(self):
        self.total_epoch = 2
        self.epoch_losses = np.ones((2, 2), np.float32)


def resnet(**options) -> FormerDFER:
    """With torchvision's layers, as the authors have them, but few channels."""
    return small(ConvolutionalSpatialTransformer("resnet18", channels=SMALL, grid=2, heads=2, hidden=12, **options))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A file of the authors' form, the model that it is of, and the order of its classes."""
    torch.manual_seed(3)
    model = resnet(pixels="unit").eval()
    state = {}
    for key, value in model.state_dict().items():
        if ".conversion." not in key and "metrics" not in key and not key.startswith("split"):
            for pattern, theirs in THEIRS:
                key = re.sub(pattern, theirs, key)
            state[f"module.{key}"] = value
    rows = [SEVEN.index(name) for name in DFEW_ORDER]
    for name in ("module.fc.weight", "module.fc.bias"):
        state[name] = state[name][rows]
    assert state.keys() >= NAMES
    monkeypatch.setattr(RecorderMeter, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "RecorderMeter", RecorderMeter, raising=False)
    content = {
        "epoch": 3,
        "state_dict": state,
        "best_acc": torch.tensor(66.2),
        "optimizer": torch.optim.SGD(model.parameters(), 0.01, momentum=0.9).state_dict(),
        "recorder": RecorderMeter(),
    }
    new, path = tmp_path / "new.pth", tmp_path / "model_best.pth"
    torch.save(content, new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(path, "w") as target:  # by NumPy 1, as theirs are
        for item in source.infolist():
            target.writestr(item, source.read(item).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray\n_reconstruct" in b"".join(
        zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist() if name.endswith("data.pkl")
    )
    return model, str(path), str(new)


def load(model: FormerDFER) -> FormerDFER:
    for part in model.pretrained():
        part.load_weights()
    return model.eval()


def test_the_authors_files_give_their_model_with_its_classes_in_our_order(published):
    model, *paths = published
    batch = random_batch(2, FRAMES)
    for path in paths:
        found = load(small(resnet().backbone, weights=path))
        torch.testing.assert_close(found(batch).logits, model(batch).logits)
        assert found.backbone.conversion.convention.name == "unit"


def test_for_other_classes_the_last_layer_stays_as_it_is(published, caplog):
    model, path, _ = published
    names = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness")  # seven, but others
    found = FormerDFER(names, resnet().backbone, FRAMES, 2, 2, 12, path)
    before = found.head.weight.clone()
    with caplog.at_level(logging.WARNING):
        load(found)
    assert "loaded without its last layer, for happiness, sadness" in caplog.text
    batch = random_batch(2, FRAMES)
    torch.testing.assert_close(found(batch).feature, model(batch).feature)
    assert found.head.weight.equal(before)


def test_files_that_do_not_fit_or_do_not_exist_are_refused(published, tmp_path):
    _, path, _ = published
    with pytest.raises(
        FileNotFoundError, match=r"no file .*fd1\.pth; the authors publish a file for each fold of DFEW"
    ):
        load(small(weights=str(tmp_path / "fd1.pth")))
    with pytest.raises(ValueError, match="not a checkpoint of the same model"):
        load(small(resnet().backbone, depth=1, weights=path))
    with pytest.raises(ValueError, match="imagenet"):
        load(small(resnet(pixels="imagenet").backbone, weights=path))
    torch.save({"state_dict": {}, "recorder": CodeInDisguise()}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="cannot be read safely"):
        load(small(weights=str(tmp_path / "other.pth")))


class CodeInDisguise:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_run_gives_its_spatial_encoders_and_one_without_them_its_convolutions(tmp_path):
    run, plain = small(), small(small_backbone())
    for model, name in ((run, "run.ckpt"), (plain, "plain.ckpt")):
        content = {"state_dict": model.state_dict()}
        model.on_save_checkpoint(content)
        torch.save(content, tmp_path / name)
    found = spatial(weights=str(tmp_path / "run.ckpt"))
    before = found.spatial.position.clone()
    found.load_weights()
    assert found.spatial.position.equal(run.backbone.spatial.position)
    assert found.network.layer1[0].conv1.weight.equal(run.backbone.network.layer1[0].conv1.weight)
    assert not found.spatial.position.equal(before)
    found = spatial(weights=str(tmp_path / "plain.ckpt"))
    before = found.spatial.position.clone()
    found.load_weights()
    assert found.network.layer1[0].conv1.weight.equal(plain.backbone.network.layer1[0].conv1.weight)
    assert found.spatial.position.equal(before)
