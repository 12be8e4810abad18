"""ECNN-FSA and its tables' models: sizes and counts by hand, masks, gradients, weights from elsewhere, LBP."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import nn

from data_modules.labels import SEVEN
from fer_lightning import CNNLSTM, ECNNFSA, VGG16, EnhancedVGG, ImageClassifier
from fer_lightning.bench.ecnn import count_multiply_adds
from fer_lightning.cli.bench import main
from fer_lightning.layers import LSTMStack, local_binary_codes, local_binary_image
from fer_lightning.layers.vgg import BLOCKS
from fer_lightning.report.sections.activation import ActivationExample, activation_figure
from fer_lightning.report.sections.relations import RelationExample, relation_figure
from fer_lightning.training.cost import count_parameters
from tests.models import random_batch, random_images, small_backbone

WIDTH = 1 / 16
VGG_CHANNELS = [channels for block in BLOCKS for channels in block]
VGG_CONVOLUTIONS = 14_714_688  # torchvision's vgg16().features


def small_ecnn(**options) -> EnhancedVGG:
    return EnhancedVGG(**({"width": WIDTH, "output": 12, "branch_output": 10, "added": 12} | options))


def small_vgg(**options) -> VGG16:
    return VGG16(**({"width": WIDTH, "hidden": 12, "dropout": 0.0} | options))


def small_models():
    torch.manual_seed(0)
    yield "ECNN-FSA", ECNNFSA(SEVEN, small_ecnn(), dropout=0.0)
    yield "ECNN-FSA 2 fc", ECNNFSA(SEVEN, small_ecnn(output=20), fc_layers=2, dropout=0.0)
    yield "ECNN-FSA small", ECNNFSA(SEVEN, small_backbone(), dropout=0.0)
    yield "score fusion", ECNNFSA(SEVEN, small_ecnn(), fusion="scores", dropout=0.0)
    yield "CNN-LSTM", CNNLSTM(SEVEN, small_vgg(), hidden=(8,), dropout=0.0)
    yield "CNN-LSTM 2", CNNLSTM(SEVEN, small_vgg(), hidden=(8, 6), dropout=0.0)
    yield "ECNN-LSTM", CNNLSTM(SEVEN, small_ecnn(kernel=5, branch_layers=2), hidden=(8, 8), dropout=0.0)
    yield "ECNN-LSTM LBP", CNNLSTM(SEVEN, small_ecnn(branch_layers=1), hidden=(8, 8), dropout=0.0, lbp=True)


MODELS = dict(small_models())


def model_of(name):
    return copy.deepcopy(MODELS[name])


def meta(make):
    with torch.device("meta"):
        return make()


# The networks of the frames


@pytest.mark.parametrize("size", [(224, 224), (100, 75), (48, 48), (32, 64), (7, 7), (1, 1)])
def test_ecnn_gives_2048_features_for_any_size(size):
    network = meta(EnhancedVGG)
    with torch.device("meta"):
        assert network(torch.empty(2, 3, 3, *size, dtype=torch.uint8)).shape == (2, 3, 2048)
    assert network.num_features == 2048


@pytest.mark.parametrize("size", [(224, 224), (100, 75), (1, 1)])
def test_vgg_gives_4096_features_for_any_size(size):
    network = meta(VGG16)
    with torch.device("meta"):
        assert network(torch.empty(2, 3, *size, dtype=torch.uint8)).shape == (2, 4096)


@pytest.mark.parametrize("size", [(64, 64), (50, 33), (5, 5)])
@pytest.mark.parametrize("make", [small_ecnn, small_vgg])
def test_features_of_any_size_are_numbers(make, size):
    network = make()
    features = network(random_images(2, 3, *size))
    assert features.shape == (2, network.num_features)
    assert features.isfinite().all()
    assert features.std() > (1e-2 if size == (64, 64) else 1e-5)  # sixteen layers let something through


def test_parameters_are_those_counted_by_hand():
    added = (9 * 512 + 1) * 1024 + 2 * (9 * 1024 + 1) * 1024
    branch = (49 * 256 + 1) * 1024
    assert count_parameters(meta(EnhancedVGG)) == VGG_CONVOLUTIONS + added + branch == 51_156_800
    smaller = (25 * 256 + 1) * 1024
    assert count_parameters(meta(lambda: EnhancedVGG(kernel=5))) == VGG_CONVOLUTIONS + added + smaller
    fc = (1024 + 1) * 1024
    for layers in (1, 2):
        network = meta(lambda layers=layers: EnhancedVGG(branch_layers=layers))
        assert count_parameters(network) == 51_156_800 + layers * fc
    wider = meta(lambda: EnhancedVGG(output=2048))  # a 1 x 1 convolution more (section 2.4)
    assert count_parameters(wider) == 51_156_800 + (1024 + 1) * 2048
    assert wider.num_features == 3072
    fc6, fc7 = (512 * 49 + 1) * 4096, (4096 + 1) * 4096
    assert count_parameters(meta(VGG16)) == VGG_CONVOLUTIONS + fc6 + fc7 == 134_260_544  # torchvision's, less the last


def test_parameters_of_the_models_are_those_counted_by_hand():
    score = 2048 * 7 + 7
    attention, norm = 3 * 2048**2, 2 * 2048
    assert count_parameters(meta(lambda: ECNNFSA(SEVEN))) == 51_156_800 + attention + norm + score
    mapped = 2048**2 + 2048
    assert count_parameters(meta(lambda: ECNNFSA(SEVEN, fc_layers=2))) == 51_156_800 + attention + norm + score + mapped
    assert count_parameters(meta(lambda: ECNNFSA(SEVEN, fusion="scores"))) == 51_156_800 + norm + score
    first, second = (4 * h * (d + h + 2) for d, h in ((4096, 2048), (2048, 1024)))
    model = meta(lambda: CNNLSTM(SEVEN, hidden=(2048, 1024)))
    assert count_parameters(model) == 134_260_544 + first + second + 1024 * 7 + 7


def test_table_sixes_3072_values_make_wider_matrices():
    model = meta(lambda: ECNNFSA(SEVEN, EnhancedVGG(output=2048), scale=0.06))
    assert model.attention.query.weight.shape == (3072, 3072)
    assert model.attention.scale == 0.06


def plain_features(network, x):
    """What figure 2 shows, layer by layer, from the tensors alone."""
    state = network.state_dict()

    def convolved(x, name, padding):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return nn.functional.conv2d(x, weight, bias, padding=padding).clamp_min(0)

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (x / 255 - mean) / std
    for block, layers in enumerate((2, 2, 3, 3, 3)):
        for layer in range(1, layers + 1):
            x = convolved(x, f"network.{block}.conv{block + 1}_{layer}", 1)
        x = nn.functional.max_pool2d(x, 2)
        if block == 2:
            third = x
    for layer in range(3):
        x = convolved(x, f"added.{layer}.0", 1)
    if "added.3.0.weight" in state:
        x = convolved(x, "added.3.0", 0)
    kernel = state["branch.0.weight"].shape[-1]
    branch = convolved(third, "branch.0", kernel // 2).mean(dim=(2, 3))
    layer = 0
    while f"branch_connected.{layer}.0.weight" in state:
        weight, bias = (state[f"branch_connected.{layer}.0.{kind}"] for kind in ("weight", "bias"))
        branch = (branch @ weight.T + bias).clamp_min(0)
        layer += 1
    return torch.cat([x.mean(dim=(2, 3)), branch], dim=1)


@pytest.mark.parametrize("options", [{}, {"kernel": 5, "branch_layers": 1}, {"output": 20, "branch_layers": 2}])
def test_ecnn_is_figure_two(options):
    torch.manual_seed(3)
    network, x = small_ecnn(**options), random_images(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain_features(network, x))


def test_vgg_is_that_of_timm():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        theirs = timm.create_model("vgg16", num_classes=0)
        ours = VGG16()
    shapes = [tuple(value.shape) for value in theirs.features.state_dict().values()]
    assert [tuple(value.shape) for value in ours.network.state_dict().values()] == shapes


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="odd kernel"):
        EnhancedVGG(kernel=6, width=WIDTH)
    with pytest.raises(ValueError, match=r"one of imagenet, .*, vggface, .*; found 'bgr'"):
        VGG16(pixels="bgr", width=WIDTH)
    with pytest.raises(ValueError, match=r"fusion is attention or scores; found 'mean'"):
        ECNNFSA(SEVEN, small_backbone(), fusion="mean")
    with pytest.raises(ValueError, match="1 or 2 FC layers; found fc_layers = 3"):
        ECNNFSA(SEVEN, small_backbone(), fc_layers=3)
    with pytest.raises(ValueError, match="at least one LSTM"):
        CNNLSTM(SEVEN, small_backbone(), hidden=())


# Weights from elsewhere


def files_of_vgg(network: VGG16):
    """The same weights as torchvision, timm, Oxford's VGG-Face and a port of it name them."""
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("conversion.")}
    own = {".".join(key.rsplit(".", 2)[-2:]): value for key, value in state.items()}
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = [key.removesuffix(".weight") for key in own if key.startswith("conv") and key.endswith("weight")]

    def renamed(layers, shapes=None):
        return {
            f"{layers[layer]}.{kind}": value.view(*(shapes or {}).get(f"{layer}.{kind}", value.shape)).clone()
            for layer, kind, value in ((*key.split("."), value) for key, value in own.items())
        }

    features = {name: f"features.{place}" for name, place in zip(names, places, strict=True)}
    map6 = {"fc6.weight": (12, -1, 7, 7), "fc7.weight": (12, 12, 1, 1)}
    yield "torchvision", renamed(features | {"fc6": "classifier.0", "fc7": "classifier.3"})
    yield "timm", renamed(features | {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2"}, map6)
    own_names = {name: name for name in [*names, "fc6", "fc7"]}
    yield "vggface", renamed(own_names, map6) | {"fc8.weight": torch.zeros(2622, 12)}
    yield "port", {"state_dict": renamed({name: "module." + name.replace("conv", "conv_") for name in own_names})}


@pytest.mark.parametrize("place", range(4), ids=["torchvision", "timm", "vggface", "port"])
def test_files_of_vgg_are_read_whoever_named_their_tensors(place, tmp_path):
    theirs = small_vgg()
    _, content = list(files_of_vgg(theirs))[place]
    path = tmp_path / "vgg.pth"
    torch.save(content, path)
    ours = small_vgg(weights=str(path), pixels="imagenet")
    ours.load_weights()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_ecnn_takes_a_files_convolutions_and_keeps_its_own(tmp_path):
    theirs, path = small_vgg(), tmp_path / "face.pth"
    torch.save(dict(files_of_vgg(theirs))["vggface"], path)
    ours = small_ecnn(weights=str(path), pixels="vggface")
    before = copy.deepcopy(ours.state_dict())
    ours.load_weights()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name] if name.startswith("network.") else before[name]), name


def test_a_file_without_fc_layers_leaves_them_as_they_are(tmp_path):
    theirs, path = small_vgg(), tmp_path / "convolutions.pth"
    content = dict(files_of_vgg(theirs))["vggface"]
    torch.save({key: value for key, value in content.items() if key.startswith("conv")}, path)
    ours = small_vgg(weights=str(path), pixels="vggface")
    fc6 = ours.connected.fc6.weight.clone()
    ours.load_weights()
    assert torch.equal(ours.connected.fc6.weight, fc6)
    assert torch.equal(ours.network[4].conv5_3.weight, theirs.network[4].conv5_3.weight)


def test_a_file_that_does_not_fit_says_what_is_missing(tmp_path):
    path = tmp_path / "other.pth"
    content = dict(files_of_vgg(small_vgg()))["vggface"]
    torch.save({key: value for key, value in content.items() if key != "conv4_2.bias"}, path)
    with pytest.raises(ValueError, match=r"conv4_2\.bias has the shape none, expected \(32,\)"):
        small_ecnn(weights=str(path), pixels="vggface").load_weights()
    torch.save(content | {"conv1_1.weight": torch.zeros(3, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"conv1_1\.weight has the shape \(3, 3, 3, 3\), expected \(4, 3, 3, 3\)"):
        small_ecnn(weights=str(path), pixels="vggface").load_weights()
    with pytest.raises(FileNotFoundError):
        small_ecnn(weights=str(tmp_path / "none.pth")).load_weights()


def test_imagenet_weights_come_by_their_name(monkeypatch):
    """timm's network is asked for its weights, and these arrive in ours."""
    theirs = small_vgg()
    published = nn.Module()
    published.state_dict = lambda: dict(files_of_vgg(theirs))["timm"]
    calls = []
    monkeypatch.setattr(timm, "create_model", lambda name, **options: calls.append((name, options)) or published)
    ours = small_ecnn(weights="timm")
    ours.load_weights()
    assert calls == [("vgg16", {"pretrained": True, "num_classes": 0})]
    assert torch.equal(ours.network[0].conv1_1.weight, theirs.network[0].conv1_1.weight)


def test_a_backbone_trained_on_stills_arrives_whole(tmp_path):
    """The paper trains it on SFEW and FER2013 first (section 2.1): `ImageClassifier` does so, with this backbone."""
    stills = ImageClassifier(SEVEN, small_ecnn())
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": stills.state_dict(), "fer_lightning": {"class_names": list(SEVEN)}}, path)
    ours = small_ecnn(weights=str(path))
    ours.load_weights()
    for name, value in stills.backbone.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_a_run_that_saw_other_pixels_is_refused(tmp_path):
    stills = ImageClassifier(SEVEN, small_ecnn(pixels="vggface"))
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": stills.state_dict(), "fer_lightning": {"class_names": list(SEVEN)}}, path)
    small_ecnn(weights=str(path), pixels="vggface").load_weights()
    with pytest.raises(ValueError, match="trained with other pixels than 'imagenet'; found 'vggface'"):
        small_ecnn(weights=str(path), pixels="imagenet").load_weights()


def test_vgg_face_sees_bytes_less_their_mean():
    pixels = random_images(2, 3, 8, 8)
    network, seen = small_vgg(pixels="vggface"), []
    network.network[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(pixels)
    torch.testing.assert_close(seen[0], pixels - torch.tensor([129.1863, 104.7624, 93.5940]).view(3, 1, 1))


# Local binary patterns


def plain_codes(grey):
    """The codes of one image as loops, clockwise from the upper left neighbour."""
    height, width = grey.shape
    codes = np.zeros((height, width))
    around = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    for row in range(height):
        for column in range(width):
            for bit, (down, right) in enumerate(around):
                y = min(max(row + down, 0), height - 1)
                x = min(max(column + right, 0), width - 1)
                codes[row, column] += (grey[y, x] >= grey[row, column]) * 2**bit
    return codes


@pytest.mark.parametrize("size", [(9, 7), (1, 5), (2, 2), (1, 1)])
def test_codes_are_those_of_plain_loops(size):
    grey = torch.randint(0, 6, (2, 3, *size), generator=torch.Generator().manual_seed(4)).float()  # with many ties
    codes = local_binary_codes(grey)
    for image, found in zip(grey.flatten(0, 1), codes.flatten(0, 1), strict=True):
        np.testing.assert_array_equal(found.numpy(), plain_codes(image.numpy()))


def test_a_code_has_the_bits_of_the_brighter_neighbours():
    grey = torch.tensor([[9.0, 0, 0], [0, 5, 5], [0, 0, 7]])
    assert local_binary_codes(grey)[1, 1] == 1 + 8 + 16


def test_patterns_are_codes_of_grey_in_any_light():
    pixels = random_images(2, 3, 12, 10, seed=5)
    seen = local_binary_image(pixels)
    assert seen.dtype == torch.uint8
    grey = 299 * pixels[:, 0].int() + 587 * pixels[:, 1].int() + 114 * pixels[:, 2].int()
    for image, found in zip(grey, seen, strict=True):
        np.testing.assert_array_equal(found.numpy(), np.broadcast_to(plain_codes(image.numpy()), (3, 12, 10)))
    darker = pixels // 2  # of which twice the value is another light
    torch.testing.assert_close(local_binary_image(2 * darker + 1), local_binary_image(darker))
    colours = torch.tensor([[1, 0], [1, 0], [1, 0]], dtype=torch.uint8)[:, None]  # grey is as bright as its sum says
    assert local_binary_image(colours)[0].tolist() == plain_codes(np.array([[1, 0]])).tolist()


def test_with_lbp_the_backbone_sees_patterns():
    model, batch = model_of("ECNN-LSTM LBP").eval(), random_batch(2, 3)
    plain = CNNLSTM(SEVEN, model.backbone, hidden=(8, 8), dropout=0.0).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = plain(replace(batch, face=local_binary_image(batch.face))).logits
        assert torch.equal(model(batch).logits, expected)
        assert not torch.allclose(plain(batch).logits, expected)


# The models


def test_ecnn_fsa_is_the_papers_chain():
    """Table 1, from the frames' features on, in plain NumPy; attention says how much each V counts in the mean."""
    model, batch = model_of("ECNN-FSA").eval(), random_batch(1, 5, mask=torch.tensor([[True, True, True, True, False]]))
    nn.init.normal_(model.regression.norm.weight)
    nn.init.normal_(model.regression.norm.bias)
    with torch.no_grad():
        output, features = model(batch), model.backbone(batch.face)
    state = {key: value.double().numpy() for key, value in model.state_dict().items()}
    x = features[0, :4].double().numpy()
    q, k, v = (x @ state[f"attention.{name}.weight"].T for name in ("query", "key", "value"))
    scores = np.exp(0.1 * q @ k.T)
    weights = scores / scores.sum(axis=1, keepdims=True)
    mean = (weights @ v).mean(axis=0)
    norm = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5)
    hidden = np.maximum(norm * state["regression.norm.weight"] + state["regression.norm.bias"], 0)
    logits = state["regression.score.weight"] @ hidden + state["regression.score.bias"]
    np.testing.assert_allclose(output.logits[0], logits, atol=1e-4)
    np.testing.assert_allclose(output.feature[0], mean, atol=1e-5)
    np.testing.assert_allclose(output.relation[0, :4, :4], weights, atol=1e-5)
    assert not output.relation[0, 4].any()
    assert not output.relation[0, :, 4].any()
    np.testing.assert_allclose(output.attention[0, :4], weights.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(output.attention[0, :4].double().numpy() @ v, mean, atol=1e-5)
    assert output.attention.shape == (1, 5)
    assert output.attention.sum().item() == pytest.approx(1)


def test_without_scale_the_clip_is_the_plain_mean_of_its_frames():
    torch.manual_seed(0)
    model = ECNNFSA(SEVEN, small_ecnn(), scale=0.0).eval()
    batch = random_batch(clips=2, frames=4)
    mask = torch.tensor([[True, True, False, True], [True] * 4])
    found = model(replace(batch, mask=mask))
    values = model.backbone(batch.face).detach() @ model.attention.value.weight.detach().T
    expected = torch.stack([values[i][mask[i]].mean(dim=0) for i in range(2)])
    torch.testing.assert_close(found.feature, expected)
    torch.testing.assert_close(found.attention, mask / mask.sum(dim=1, keepdim=True))


def test_vasnets_options_reach_the_attention_and_are_trained():
    torch.manual_seed(0)
    model = ECNNFSA(SEVEN, small_ecnn(), residual=True, output_layer=True, attention_dropout=0.5)
    assert model.attention.dropout.p == 0.5
    model(random_batch(clips=2, frames=4)).logits.sum().backward()
    assert model.attention.output.weight.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        model.attention.output.weight.zero_()
    batch = random_batch(clips=2, frames=4)
    torch.testing.assert_close(model(batch).feature, model.backbone(batch.face).mean(dim=1), msg="only X is left")


def test_with_two_layers_the_mapping_comes_first():
    names = [name for name, _ in ECNNFSA(SEVEN, small_backbone(), fc_layers=2).regression.named_children()]
    assert names == ["map", "norm", "relu", "dropout", "score"]


def test_the_order_of_frames_matters_to_an_lstm_alone():
    batch = random_batch(2, 4)
    moved = replace(batch, face=batch.face[:, [2, 0, 3, 1]])
    with torch.no_grad():
        for name, same in (("ECNN-FSA", True), ("score fusion", True), ("CNN-LSTM", False)):
            model = model_of(name).eval()
            assert torch.allclose(model(batch).logits, model(moved).logits, atol=1e-5) == same


def test_score_fusion_is_the_mean_of_the_frames_probabilities():
    mask = torch.tensor([[True, True, False, True]])
    model, batch = model_of("score fusion").eval(), random_batch(1, 4, mask=mask)
    alone = [replace(batch, face=batch.face[:, [i]], mask=mask[:, [i]]) for i in (0, 1, 3)]
    with torch.no_grad():
        expected = torch.stack([model(frame).logits.softmax(dim=1) for frame in alone]).mean(dim=0)
        output = model(batch)
    torch.testing.assert_close(output.logits.softmax(dim=1), expected)
    torch.testing.assert_close(output.logits.exp(), expected)
    assert output.attention is None


def test_lstms_stand_on_each_other_and_read_real_frames_alone():
    torch.manual_seed(6)
    stack, frames = LSTMStack(5, (4, 3)), torch.randn(2, 4, 5)
    mask = torch.tensor([[True, False, True, True], [False, False, False, False]])
    with torch.no_grad():
        last = stack(frames, mask)
        states, _ = stack.layers[0](frames[:1, [0, 2, 3]])
        expected, _ = stack.layers[1](states)
    torch.testing.assert_close(last[0], expected[0, -1])
    assert not last[1].any()


def test_what_the_frames_are_seen_by_can_be_chosen():
    """Any backbone fits, so the small size has a network that has seen rendered stills."""
    for model in (ECNNFSA(SEVEN, small_backbone()), CNNLSTM(SEVEN, small_backbone(), hidden=(4,))):
        assert model(random_batch(2, 3)).logits.shape == (2, 7)


def test_a_report_can_draw_what_it_attends_to():
    mask = torch.tensor([[True, True, True, True, False]])
    model, batch = model_of("ECNN-FSA").eval(), random_batch(1, 5, mask=mask)
    predictions, _ = model.predict_clips(batch)
    attention, relation = predictions.attention[0].detach().numpy(), predictions.relation[0].detach().numpy()
    seen = ("a", "anger", "fear", 0.5, np.zeros((5, 8, 8, 3), np.uint8), mask[0].numpy())
    bars = activation_figure(ActivationExample(*seen, attention)).axes[1].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], attention)
    there = relation.copy()
    there[4] = there[:, 4] = np.nan
    drawn = RelationExample(*seen, there)
    np.testing.assert_array_equal(relation_figure(drawn).axes[1].images[0].get_array()[:4, :4], there[:4, :4])
    np.testing.assert_allclose(drawn.means[:4], attention[:4], rtol=1e-5)  # the columns' means are the attention


def test_its_benchmark_prints_both_models_and_the_papers_ratios(capsys):
    main(["bench", "ecnn", "--quick"])
    printed = capsys.readouterr().out
    for words in ("ECNN-FSA", "CNN-LSTM", "1.90", "1.48", "multiply-adds", "% of the backbone's time"):
        assert words in printed


def test_multiply_adds_are_those_counted_by_hand():
    """Of the paper's sizes, for a frame of 224 x 224; nothing is computed."""
    side, inputs, convolutions = 224, 3, 0
    for block in BLOCKS:
        for channels in block:
            convolutions += side**2 * 9 * inputs * channels
            inputs = channels
        side //= 2
    added = 7**2 * 9 * 1024 * (512 + 1024 + 1024)
    branch = 28**2 * 49 * 256 * 1024
    attention = 3 * 2048**2 + 2 * 5 * 2048  # with five frames
    clip = 5 * (convolutions + added + branch + attention) + 2048 * 7
    assert count_multiply_adds(lambda: ECNNFSA(SEVEN), 224) == clip
    assert attention < 0.01 * (convolutions + added + branch)
    fully_connected = 512 * 49 * 4096 + 4096**2
    lstms = 4 * 2048 * (4096 + 2048) + 4 * 2048 * (2048 + 2048)
    assert count_multiply_adds(lambda: CNNLSTM(SEVEN), 224) == 5 * (convolutions + fully_connected + lstms) + 2048 * 7
