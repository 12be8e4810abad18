"""Bi-modality fusion's visual streams: the Bi-LSTM against plain loops, frozen convolutions, masks, counted votes."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data_modules.labels import SEVEN
from fer_lightning import VGG16, CNNBiLSTM, EnhancedVGG, FullyConnectedBackbone, ImageClassifier, StaticFrameVote
from fer_lightning.architectures.bimodal.visual import NO_VOTE, vote_logits
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.layers import SummedBiLSTM
from fer_lightning.training.cost import count_parameters
from tests.experiments.test_experiments import MADE
from tests.models import SMALL, random_batch, random_images, small_backbone

EIGHT = ("anger", "contempt", *SEVEN[1:])
D, H, T = 5, 4, 6


# The Bi-LSTM


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_direction(rnn, x, layer, suffix):
    """Equations 1 and 2 over one sequence (n, D), one frame after another; torch's order of gates is i, f, g, o."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, d = (np.split(getattr(rnn, f"{name}_l{layer}{suffix}").detach().double().numpy(), 4) for name in names)
    h = c = np.zeros(rnn.hidden_size)
    states = []
    for frame in x:
        i, f, g, o = (w[n] @ frame + u[n] @ h + b[n] + d[n] for n in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def plain(rnn, x):
    """Equation 3 over the real frames of one clip (n, D), the backward direction from the last of them."""
    for layer in range(rnn.num_layers):
        forward = plain_direction(rnn, x, layer, "")
        backward = plain_direction(rnn, x[::-1], layer, "_reverse")[::-1]
        x = np.concatenate([forward, backward], axis=1)
    return forward + backward


MASKS = {
    "none": None,
    "whole": [1, 1, 1, 1, 1, 1],
    "end": [1, 1, 1, 0, 0, 0],
    "beginning": [0, 0, 1, 1, 1, 1],
    "gaps": [0, 1, 0, 1, 1, 0],
    "one": [0, 0, 0, 1, 0, 0],
    "nothing": [0, 0, 0, 0, 0, 0],
}


def masked(case):
    """One clip as the case has it between two others."""
    if MASKS[case] is None:
        return None
    return torch.tensor([[1, 1, 0, 1, 0, 0], MASKS[case], [1, 1, 1, 1, 1, 1]], dtype=torch.bool)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("case", MASKS)
def test_the_bilstm_is_two_plain_lstms_summed(case, layers):
    torch.manual_seed(layers)
    lstm, x, mask = SummedBiLSTM(D, H, layers).double(), torch.randn(3, T, D, dtype=torch.float64), masked(case)
    states = lstm(x, mask).detach().numpy()
    assert states.shape == (3, T, H)
    for clip, row in enumerate(np.ones((3, T), bool) if mask is None else mask.numpy()):
        expected = np.zeros((T, H))
        if row.any():
            expected[row] = plain(lstm.rnn, x[clip].numpy()[row])
        np.testing.assert_allclose(states[clip], expected, atol=1e-12)


@pytest.mark.parametrize("filling", [1e6, float("nan"), float("inf")])
def test_what_is_padded_changes_neither_states_nor_gradients(filling):
    torch.manual_seed(0)
    lstm, x, mask = SummedBiLSTM(D, H), torch.randn(3, T, D), masked("nothing")
    weights = torch.randn(3, T, H)
    found = []
    for content in (x, torch.where(mask[..., None], x, filling)):
        lstm.zero_grad()
        states = lstm(content, mask)
        (states * weights).sum().backward()
        found.append([states.detach(), *(p.grad.clone() for p in lstm.parameters())])
    for once, twice in zip(*found, strict=True):
        assert torch.equal(once, twice)


def test_more_padding_changes_nothing():
    torch.manual_seed(0)
    lstm, x, mask = SummedBiLSTM(D, H), torch.randn(3, T, D), masked("gaps")
    longer = torch.cat([torch.randn(3, 2, D), x, torch.randn(3, 4, D)], dim=1)
    longer_mask = nn.functional.pad(mask, (2, 4))
    torch.testing.assert_close(lstm(longer, longer_mask)[:, 2 : 2 + T], lstm(x, mask))


def test_both_directions_are_read_at_the_same_frame():
    """The state of a frame knows what comes before it and after it; the paper's index counts the reversed sequence."""
    torch.manual_seed(0)
    lstm, x = SummedBiLSTM(D, H, 1), torch.randn(1, T, D, requires_grad=True)
    for frame in range(T):
        (gradient,) = torch.autograd.grad(lstm(x)[0, frame].sum(), x)
        assert (gradient.abs().sum(dim=2) > 0).all()
    backwards = copy.deepcopy(lstm)
    for name, value in lstm.rnn.named_parameters():
        other = name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"
        getattr(backwards.rnn, other).data.copy_(value.data)
    torch.testing.assert_close(backwards(x.flip(1)).flip(1), lstm(x))


# The streams


def connected(layers=1, **options):
    return FullyConnectedBackbone("resnet10t", channels=SMALL, pool=1, hidden=12, layers=layers, **options)


def small_vgg(**options):
    return VGG16(**({"width": 1 / 16, "hidden": 12} | options))


def streams():
    torch.manual_seed(0)
    yield "trained whole", CNNBiLSTM(SEVEN, connected(), hidden=6, dropout=0.0)
    yield "VGG frozen", CNNBiLSTM(SEVEN, small_vgg(), hidden=6, dropout=0.0, frozen_convolutions=True)
    yield "two FC frozen", CNNBiLSTM(SEVEN, connected(2), hidden=6, dropout=0.0, frozen_convolutions=True)
    yield "no FC", CNNBiLSTM(SEVEN, small_backbone(), hidden=6, layers=1, dropout=0.0)
    yield "no FC frozen", CNNBiLSTM(SEVEN, small_backbone(), hidden=6, dropout=0.0, frozen_convolutions=True)


STREAMS = dict(streams())
FROZEN = [name for name in STREAMS if "frozen" in name]


def stream(name):
    return copy.deepcopy(STREAMS[name])


def batch_of(clips=3, mask=None, seed=0):
    return random_batch(clips, T, 32, mask, seed)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_its_parts_one_after_another(name):
    model, mask = stream(name).eval(), masked("gaps")
    batch = batch_of(mask=mask)
    with torch.no_grad():
        output = model(batch)
        features = model.backbone(batch.face)
    for clip in range(3):
        real = features[clip][mask[clip]].double().numpy()
        mean = plain(model.lstm.rnn, real).mean(axis=0)
        np.testing.assert_allclose(output.feature[clip].numpy(), mean, atol=1e-5)
        logits = model.score.weight.detach().numpy() @ mean + model.score.bias.detach().numpy()
        np.testing.assert_allclose(output.logits[clip].numpy(), logits, atol=1e-5)


@pytest.mark.parametrize("name", STREAMS)
def test_of_a_clip_without_frames_the_bias_is_left(name):
    model, mask = stream(name).eval(), masked("nothing")
    torch.testing.assert_close(model(batch_of(mask=mask)).logits[1], model.score.bias)


@pytest.mark.parametrize("name", STREAMS)
def test_fc_layers_learn_behind_frozen_convolutions(name):
    model = stream(name).train()
    learning = {key for key, value in model.named_parameters() if value.requires_grad}
    assert any(key.startswith("backbone.network") for key in learning) == (name not in FROZEN)
    assert any(key.startswith("backbone.connected") for key in learning) == hasattr(model.backbone, "connected")
    assert all(module.training for module in model.lstm.modules())


def test_dropout_behind_frozen_convolutions_stays_on():
    model = CNNBiLSTM(SEVEN, small_vgg(), hidden=6, frozen_convolutions=True).train()
    assert model.backbone.connected.dropout.training
    assert not model.backbone.network.training


def test_of_a_frozen_backbone_the_bi_lstm_alone_learns_from_what_it_says_without_dropout():
    torch.manual_seed(0)
    model = CNNBiLSTM(SEVEN, small_vgg(), hidden=6, dropout=0.0, frozen_backbone=True)
    batch = batch_of()
    model.eval()
    expected = model(batch).logits
    model.train()
    torch.testing.assert_close(model(batch).logits, expected, msg="dropout between FC6 and FC7 is off")
    learning = {key for key, value in model.named_parameters() if value.requires_grad}
    assert {key.split(".")[0] for key in learning} == {"lstm", "score"}
    assert model.frozen_features(batch).frames.shape == (3, T, 12), "FC7, which can be cached"


def test_the_first_step_trains_fc_layers_on_frozen_convolutions():
    torch.manual_seed(0)
    model = ImageClassifier(SEVEN, small_vgg(), frozen_convolutions=True).train()
    learning = {key for key, value in model.named_parameters() if value.requires_grad}
    assert {key.rpartition(".")[0] for key in learning} == {
        "backbone.connected.fc6",
        "backbone.connected.fc7",
        "head.1",
    }
    assert model.backbone.connected.dropout.training
    batch = batch_of()
    model.eval()
    expected = model.head(model.backbone(batch.face).mean(dim=1))
    torch.testing.assert_close(model(batch).logits, expected)


def test_what_is_cached_is_known_by_the_pixels_too():
    ours, theirs = (
        CNNBiLSTM(SEVEN, small_vgg(pixels=pixels), frozen_convolutions=True) for pixels in ("imagenet", "vggface")
    )
    assert repr(ours.frozen_parts()) != repr(theirs.frozen_parts())


BACKBONES = {
    "plain": small_backbone,
    "one layer": connected,
    "two layers": lambda: connected(2),
    "VGG-16": small_vgg,
    "ECNN": lambda: EnhancedVGG(width=1 / 16, output=12, branch_output=10, added=12, branch_layers=1),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_convolutions_and_layers_behind_them(name):
    torch.manual_seed(0)
    backbone, frames = BACKBONES[name]().eval(), random_images(2, 3, 3, 40, 32)
    whole = backbone(frames)
    assert whole.shape == (2, 3, backbone.num_features)
    convolved = backbone.forward_features(frames)
    assert torch.equal(backbone.forward_head(convolved), whole)
    parts = {id(p) for part in backbone.convolutions() for p in part.parameters()}
    reached = torch.autograd.grad(convolved.sum(), list(backbone.parameters()), allow_unused=True)
    for parameter, gradient in zip(backbone.parameters(), reached, strict=True):
        assert (gradient is not None) == (id(parameter) in parts)


def test_one_fully_connected_layer_is_fc6_alone():
    backbone, frames = connected().eval(), random_images(2, 3, 32, 32)
    assert [name for name, _ in backbone.connected.named_parameters()] == ["fc6.weight", "fc6.bias"]
    pooled = backbone.network(backbone.normalise(frames)).mean(dim=(2, 3))
    torch.testing.assert_close(backbone(frames), backbone.connected.fc6(pooled).relu())
    with pytest.raises(ValueError, match=r"1 or 2 fully connected layers .* found layers = 3"):
        connected(3)


def run_of(model, names, folder, name):
    path = folder / "runs" / name / "1-0" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "fer_lightning": {"class_names": list(names)}}, path)


def test_new_layers_begin_at_random_behind_a_runs_convolutions(tmp_path):
    stills = ImageClassifier(SEVEN, small_backbone())
    run_of(stills, SEVEN, tmp_path, "stills")
    backbone = connected(weights="run:stills", new_layers=True)
    before = backbone.connected.fc6.weight.clone()
    backbone.load_weights()
    state = stills.backbone.network.state_dict()
    assert all(value.equal(state[key]) for key, value in backbone.network.state_dict().items())
    assert backbone.connected.fc6.weight.equal(before)
    with pytest.raises(ValueError, match="those of resnet10t are frozen"):
        backbone.requires_grad_(False).load_weights()


# The vote


def plain_frequencies(votes, mask, classes):
    real = [vote for vote, there in zip(votes, mask, strict=True) if there]
    if not real:
        return [1 / classes] * classes
    return [real.count(name) / len(real) for name in range(classes)]


def test_the_softmax_of_the_logits_is_the_frequency_of_the_votes():
    generator = torch.Generator().manual_seed(0)
    votes = torch.randint(0, 4, (50, 9), generator=generator)
    mask = torch.rand(50, 9, generator=generator) < 0.6
    mask[3], mask[4] = False, True
    logits = vote_logits(votes, 7, mask)
    assert logits.isfinite().all()
    expected = [plain_frequencies(*pair, 7) for pair in zip(votes.tolist(), mask.tolist(), strict=True)]
    probabilities = logits.softmax(dim=1)
    torch.testing.assert_close(probabilities, torch.tensor(expected), atol=1e-6, rtol=1e-6)
    assert (probabilities[:3, 4:] == 0).all(), "none at all, not a little"
    assert (logits[0, 4:] == NO_VOTE).all()
    assert logits[3].tolist() == [0] * 7


def test_of_as_many_votes_the_first_class_is_the_answer():
    logits = vote_logits(torch.tensor([[5, 2, 5, 2], [6, 6, 1, 0]]), 7, torch.ones(2, 4, dtype=torch.bool))
    assert logits.softmax(dim=1).argmax(dim=1).tolist() == [2, 6]
    assert logits[0, 2] == logits[0, 5]


def test_the_vote_counts_its_classifiers_answers_by_frame():
    torch.manual_seed(0)
    stills = ImageClassifier(SEVEN, small_backbone()).eval()
    batch = random_batch(4, 16, 32, torch.rand(4, 16, generator=torch.Generator().manual_seed(1)) < 0.7)
    linear = stills.head[1]
    linear.bias.data = -linear.weight.data @ stills.backbone(batch.face).mean(dim=(0, 1)).detach()  # many answers
    model = StaticFrameVote(SEVEN, small_backbone())
    model.load_state_dict(stills.state_dict())
    model.train()
    answers = []
    for frame in range(16):
        one = replace(batch, face=batch.face[:, frame : frame + 1], mask=torch.ones(4, 1, dtype=torch.bool))
        answers.append(stills(one).logits.argmax(dim=1))
    votes = torch.stack(answers, dim=1)
    assert len(votes.unique()) > 1
    expected = torch.tensor(
        [plain_frequencies(*pair, 7) for pair in zip(votes.tolist(), batch.mask.tolist(), strict=True)]
    )
    torch.testing.assert_close(model(batch).logits.softmax(dim=1), expected)


def vote_cli(*arguments, name="static_vote_synthetic"):
    """A training at the small size, on made faces, with a small backbone."""
    small = {"name": "resnet10t", "channels": list(SMALL)}
    made = {"class_path": "fer_lightning.FrameBackbone", "init_args": small}
    backbone = ("--model.init_args.backbone", json.dumps(made))
    tiny = ("--data.dataset", MADE, "--data.num_workers", "0", "--data.size", "32", "--trainer.precision", "32-true")
    plain_trainer = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.logger", "false")
    arguments = (*backbone, *tiny, *plain_trainer, *arguments)
    return FerCLI(ExperimentRequest(name, size="small", arguments=arguments).command_line(), run=False)


def fit(cli):
    cli.trainer.fit(cli.model, cli.datamodule)


def stills_run(folder, names, name="stills"):
    stills = ImageClassifier(names, small_backbone())
    run_of(stills, names, folder, name)
    return stills


@pytest.mark.parametrize("data", ["afew", "cremad", "ravdess", "synthetic"])
def test_every_vote_is_trained_as_all_systems_are(data, tmp_path):
    torch.manual_seed(1)  # other weights than the vote's own, whose seed is 0
    stills = stills_run(tmp_path, SEVEN)
    cli = vote_cli("--model.init_args.start_from", "run:stills", name=f"static_vote_{data}")
    before = copy.deepcopy(cli.model.backbone.network.state_dict())
    fit(cli)
    assert cli.trainer.current_epoch == 1
    after, expected = (model.backbone.network.state_dict()["conv1.0.weight"] for model in (cli.model, stills))
    assert after.equal(expected), "those of the run, of which nothing is learnt"
    assert not after.equal(before["conv1.0.weight"])
    assert (cli.model.unsupported_classes == ("calm",)) == (data == "ravdess")


@pytest.mark.parametrize("names", [SEVEN, EIGHT], ids=["seven", "eight"])
def test_a_vote_takes_the_runs_weights_by_class_name(names, tmp_path):
    stills = stills_run(tmp_path, names)
    cli = vote_cli("--model.init_args.start_from", "run:stills")
    model = cli.model
    cli.trainer.fit(model, cli.datamodule)
    for place, name in enumerate(SEVEN):
        assert torch.equal(model.head[1].weight[place], stills.head[1].weight[names.index(name)])
        assert torch.equal(model.head[1].bias[place], stills.head[1].bias[names.index(name)])
    state = stills.backbone.state_dict()
    assert all(value.equal(state[key]) for key, value in model.backbone.state_dict().items())
    assert 0 <= float(cli.trainer.callback_metrics["inner/war"]) <= 1
    assert cli.trainer.callback_metrics["inner/loss"].isfinite()


def test_as_many_classes_of_other_names_are_not_mixed_up(tmp_path):
    other = ("anger", "calm", *SEVEN[2:])
    stills = stills_run(tmp_path, other)
    unknown = r"run:stills does not know disgust: its classes are anger, calm, .*unsupported_classes"
    with pytest.raises(ValueError, match=unknown):
        fit(vote_cli("--model.init_args.start_from", "run:stills"))
    cli = vote_cli("--model.init_args.start_from", "run:stills", "--model.init_args.unsupported_classes", "[disgust]")
    fit(cli)
    assert torch.equal(cli.model.head[1].weight[2], stills.head[1].weight[2])
    answers = cli.model.head(torch.randn(500, SMALL[-1]) * 10).argmax(dim=1)
    assert SEVEN.index("disgust") not in answers


def test_votes_are_counted_in_one_process(tmp_path, monkeypatch):
    """Of two, torch would say that nothing has a gradient."""
    assert read_model(ExperimentRequest("static_vote_cremad"))["trainer"]["devices"] == 1
    stills_run(tmp_path, SEVEN)
    cli = vote_cli("--model.init_args.start_from", "run:stills")
    monkeypatch.setattr("pytorch_lightning.Trainer.world_size", 2)
    with pytest.raises(ValueError, match=r"StaticFrameVote is fitted in one process, not in 2: set --trainer"):
        fit(cli)


def test_a_vote_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"trains nothing.*start_from. is random.*run:vgg16_affectnet"):
        fit(vote_cli("--model.init_args.start_from", "random"))


# Sizes


def test_the_small_streams_are_three_models():
    made = {}
    for net in ("vggface", "resnet18", "densenet121"):
        cli = FerCLI(ExperimentRequest(f"bimodal_{net}_synthetic", size="small").command_line(), run=False)
        first = FerCLI(ExperimentRequest(f"bimodal_{net}_frames_synthetic", size="small").command_line(), run=False)
        assert cli.model.frozen_parts() == [cli.model.backbone]
        layers = len([name for name, _ in cli.model.backbone.connected.named_parameters()]) // 2
        made[net] = (bool(first.model.frozen_parts()), layers, cli.datamodule.sampler.frames)
    assert made == {"vggface": (True, 2, 16), "resnet18": (False, 1, 16), "densenet121": (False, 1, 4)}


def bilstm(size, hidden):
    return 2 * 4 * hidden * (size + hidden + 2) + 2 * 4 * hidden * (2 * hidden + hidden + 2)


VGG = 134_260_544  # torchvision's, less its last layer
PARAMETERS = {
    "vggface": VGG,
    "resnet18": 11_176_512 + (512 + 1) * 4096,
    "densenet121": 6_953_856 + (1024 + 1) * 4096,
}


def trained_parameters(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("net", PARAMETERS)
def test_the_papers_streams_have_the_parameters_counted_by_hand(net):
    with torch.device("meta"):
        cli = FerCLI(ExperimentRequest(f"bimodal_{net}_afew").command_line(), run=False)
        first = FerCLI(ExperimentRequest(f"bimodal_{net}_frames_afew").command_line(), run=False).model
    model, data = cli.model, cli.datamodule
    assert model.backbone.num_features == 4096
    assert count_parameters(model) == PARAMETERS[net] + bilstm(4096, 512) + 512 * 7 + 7
    assert trained_parameters(model) == bilstm(4096, 512) + 512 * 7 + 7, "the Bi-LSTM is fed with what FC7 says"
    assert count_parameters(first) == PARAMETERS[net] + 4096 * 7 + 7
    assert count_parameters(first) - trained_parameters(first) == (14_714_688 if net == "vggface" else 0)
    assert (data.sampler.frames, data.size, data.augmentation.crop) == (4 if net == "densenet121" else 16, 224, 0.875)


def test_the_papers_vote_is_vgg16():
    with torch.device("meta"):
        cli = FerCLI(ExperimentRequest("static_vote_afew").command_line(), run=False)
        run = FerCLI(ExperimentRequest("vgg16_affectnet").command_line(), run=False)
    assert cli.model.start_from == "run:vgg16_affectnet"
    assert count_parameters(cli.model) == count_parameters(run.model) == VGG + 4096 * 7 + 7
    assert cli.model.state_dict().keys() == run.model.state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize("net", PARAMETERS)
def test_a_step_at_the_papers_size(net):
    cli = FerCLI(ExperimentRequest(f"bimodal_{net}_afew").command_line(), run=False)
    model, frames = cli.model.train(), cli.datamodule.sampler.frames
    mask = torch.ones(2, frames, dtype=torch.bool)
    mask[1, 2:] = False
    batch = random_batch(2, frames, 224, mask)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    model.loss(model(batch), batch).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    optimizer.step()
    assert model.eval()(batch).logits.isfinite().all()
