"""What every public classifier keeps to, whatever its paper. A new one is found by its file."""

import copy
import functools
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from data_modules.labels import SEVEN
from data_modules.loading.batch import INPUTS, WITHOUT_FRAMES, ClipBatch
from fer_lightning import (
    CNNLSTM,
    ECNNFSA,
    VGG16,
    VSHNN,
    AppearanceRNN,
    AudioVisual,
    CEFLNet,
    ClipBackbone,
    CNNBiLSTM,
    ContextSpatiotemporal,
    ContextTemporalPyramid,
    DenseNetFC,
    EnhancedVGG,
    FullyConnectedBackbone,
    ImageClassifier,
    IntermediateConcatenation,
    LandmarkFusion,
    LandmarkMLP,
    LandmarkSVM,
    LowRankMultiModalFusion,
    OpenSmileSVM,
    PooledVGG,
    SceneCNN,
    StaticFrameVote,
    VideoClassifier,
    WeightedSum,
)
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.weights import load_fitting_weights
from tests.models import SMALL, Case, classifiers, small_backbone

FRAMES, SIDE, FUNCTIONALS = 6, 32, 12
PUBLIC = classifiers()

# Small networks


def connected(layers: int = 1) -> FullyConnectedBackbone:
    return FullyConnectedBackbone("resnet10t", channels=SMALL, pool=1, hidden=12, layers=layers, dropout=0.0)


def vgg() -> VGG16:
    return VGG16(width=1 / 16, hidden=12, dropout=0.0)


def ecnn(**options) -> EnhancedVGG:
    return EnhancedVGG(**({"width": 1 / 16, "output": 12, "branch_output": 10, "added": 12} | options))


def scene(**options) -> ClipBackbone:
    return ClipBackbone("c3d", width=1 / 32, size=SIDE, **options)


def ceflnet(clips: int = 3, **ablation) -> CEFLNet:
    return CEFLNet(SEVEN, small_backbone(), clips, dropout=0.0, **ablation)


def audio_visual(audio: bool = True, **options) -> AudioVisual:
    sizes = {"width": 16, "heads": 2, "layers": 1, "dropout": 0.0}
    return AudioVisual(SEVEN, small_backbone(), small_backbone() if audio else None, **sizes, **options)


def spatiotemporal(**options) -> ContextSpatiotemporal:
    sizes = {"frames": FRAMES, "lstm": 8, "side": 4, "width": 1 / 16, "hidden": 8, "dropout": 0.0}
    return ContextSpatiotemporal(SEVEN, small_backbone(), PooledVGG(width=1 / 32), **sizes, **options)


def pyramid(**options) -> ContextTemporalPyramid:
    return ContextTemporalPyramid(SEVEN, small_backbone(), PooledVGG(width=1 / 32), hidden=8, dropout=0.0, **options)


def vshnn(fusion: LandmarkFusion | None) -> VSHNN:
    sizes = {"hidden": 16, "features": 8, "dropout": 0.0}
    return VSHNN(SEVEN, connected(2), scene(), substitution=2, fusion=fusion, **sizes)


def fitted(model: OpenSmileSVM | LandmarkSVM) -> VideoClassifier:
    batch = batch_for(model, clips(35, seed=9))
    model.machine.fit(model.describe_clips(batch)[0], batch.label, [f"s{place // 7}" for place in range(35)])
    return model


# The classifiers


SHIFT = frozenset({"eian.score.bias"})  # a softmax does not see what is added to all scores
ALONE = SHIFT | {"eian.score.weight"}  # the score of a single sub-video is 1
FIXED = {"any_length": False}
LANDMARK_NET = {"modules": 2, "width": 8, "frames": FRAMES}
LINEAR = {"costs": (1.0,), "widths": (1.0,)}
CASES: dict[str, Case] = {
    "CEFLNet": Case(ceflnet, **FIXED, unmoved=SHIFT),
    "CEFLNet without SAL": Case(lambda: ceflnet(sal=False), **FIXED, unmoved=SHIFT),
    "CEFLNet without LRL": Case(lambda: ceflnet(lrl=False), **FIXED, unmoved=SHIFT),
    "CEFLNet without EIAN": Case(lambda: ceflnet(eian=False), **FIXED),
    "CEFLNet of one sub-video": Case(lambda: ceflnet(1), unmoved=ALONE),
    "ECNNFSA": Case(lambda: ECNNFSA(SEVEN, ecnn(), dropout=0.0)),
    "ECNNFSA with two FC layers": Case(lambda: ECNNFSA(SEVEN, ecnn(output=20), fc_layers=2, dropout=0.0)),
    "ECNNFSA of a ResNet": Case(lambda: ECNNFSA(SEVEN, small_backbone(), dropout=0.0)),
    "ECNNFSA of scores": Case(lambda: ECNNFSA(SEVEN, ecnn(), fusion="scores", dropout=0.0)),
    "CNNLSTM": Case(lambda: CNNLSTM(SEVEN, vgg(), hidden=(8,), dropout=0.0)),
    "CNNLSTM of two": Case(lambda: CNNLSTM(SEVEN, vgg(), hidden=(8, 6), dropout=0.0)),
    "CNNLSTM of ECNN": Case(lambda: CNNLSTM(SEVEN, ecnn(kernel=5, branch_layers=2), hidden=(8, 8), dropout=0.0)),
    "CNNLSTM of LBP": Case(lambda: CNNLSTM(SEVEN, ecnn(branch_layers=1), hidden=(8,), dropout=0.0, lbp=True)),
    "VSHNN": Case(lambda: vshnn(None), freezes=True, **FIXED),
    "VSHNN-IC": Case(lambda: vshnn(IntermediateConcatenation(frames=FRAMES)), freezes=True, **FIXED),
    "VSHNN-WS": Case(lambda: vshnn(WeightedSum(**LANDMARK_NET)), freezes=True, **FIXED),
    "VSHNN-LRMF": Case(lambda: vshnn(LowRankMultiModalFusion(attention=False, **LANDMARK_NET)), freezes=True, **FIXED),
    "VSHNN-LRMAF": Case(lambda: vshnn(LowRankMultiModalFusion(**LANDMARK_NET)), freezes=True, **FIXED),
    "SceneCNN": Case(lambda: SceneCNN(SEVEN, scene(), hidden=16, dropout=0.0), freezes=True, **FIXED),
    "SceneCNN trained whole": Case(lambda: SceneCNN(SEVEN, scene(frozen=False), hidden=16, dropout=0.0), **FIXED),
    "AppearanceRNN": Case(lambda: AppearanceRNN(SEVEN, connected(2), "gru", 16, 8, 0.0), freezes=True),
    "AppearanceRNN of an LSTM": Case(lambda: AppearanceRNN(SEVEN, connected(), "lstm", 16, 8, 0.0), freezes=True),
    "LandmarkMLP": Case(lambda: LandmarkMLP(SEVEN, width=8, frames=FRAMES), **FIXED),
    "LandmarkMLP of LMED": Case(lambda: LandmarkMLP(SEVEN, "lmed", width=8, frames=FRAMES), **FIXED),
    "LandmarkMLP of DTGN": Case(lambda: LandmarkMLP(SEVEN, "trajectory", width=8, frames=FRAMES), **FIXED),
    "LandmarkSVM": Case(lambda: fitted(LandmarkSVM(SEVEN, frames=FRAMES, **LINEAR)), learns=False, **FIXED),
    "OpenSmileSVM": Case(lambda: fitted(OpenSmileSVM(SEVEN, **LINEAR)), learns=False),
    "AudioVisual": Case(audio_visual),
    "AudioVisual of filters": Case(lambda: audio_visual(audio=False)),
    "AudioVisual of faces": Case(lambda: audio_visual(modalities=["face"])),
    "AudioVisual of audio": Case(lambda: audio_visual(modalities=["audio"])),
    "CNNBiLSTM": Case(lambda: CNNBiLSTM(SEVEN, connected(), 6, dropout=0.0)),
    "CNNBiLSTM of one layer": Case(lambda: CNNBiLSTM(SEVEN, small_backbone(), 6, 1, 0.0)),
    "CNNBiLSTM of frozen VGG": Case(lambda: CNNBiLSTM(SEVEN, vgg(), 6, 2, 0.0, True), freezes=True),
    "CNNBiLSTM of frozen FC": Case(lambda: CNNBiLSTM(SEVEN, connected(2), 6, 2, 0.0, True), freezes=True),
    "CNNBiLSTM of a frozen backbone": Case(
        lambda: CNNBiLSTM(SEVEN, connected(2), 6, 2, 0.0, frozen_backbone=True), freezes=True
    ),
    "CNNBiLSTM of a frozen ResNet": Case(lambda: CNNBiLSTM(SEVEN, small_backbone(), 6, 2, 0.0, True), freezes=True),
    "StaticFrameVote": Case(lambda: StaticFrameVote(SEVEN, vgg()), learns=False, freezes=True),
    "ContextSpatiotemporal": Case(spatiotemporal, freezes=True, noise=3e-4),  # BatchNorm magnifies what is rounded
    "ContextSpatiotemporal of faces": Case(lambda: spatiotemporal(context=False), freezes=True, noise=3e-4),
    "ContextSpatiotemporal untuned": Case(lambda: spatiotemporal(context=False, tuned=False), freezes=True, noise=3e-4),
    "ContextTemporalPyramid": Case(pyramid, freezes=True),
    "ContextTemporalPyramid of faces": Case(lambda: pyramid(context=False), freezes=True),
    "ContextTemporalPyramid of level 4": Case(lambda: pyramid(levels=(4,)), freezes=True),
    "ImageClassifier": Case(lambda: ImageClassifier(SEVEN, small_backbone())),
    "ImageClassifier of frozen convolutions": Case(
        lambda: ImageClassifier(SEVEN, vgg(), frozen_convolutions=True), freezes=True
    ),
    "ImageClassifier of persons": Case(lambda: ImageClassifier(SEVEN, small_backbone(), crop="person")),
    "DenseNetFC": Case(lambda: DenseNetFC(SEVEN, connected(2), dropout=0.0)),
}


def cases_of_test_files() -> dict[str, Case]:
    """What the test files of models add, under `CONTRACT_CASES`."""
    folder = Path(__file__).parent
    names = [path.stem for path in folder.glob("test_*.py") if path != Path(__file__)]
    modules = [import_module(f"tests.architectures.{name}") for name in sorted(names)]
    return {name: case for module in modules for name, case in getattr(module, "CONTRACT_CASES", {}).items()}


CASES |= cases_of_test_files()


@functools.cache
def settled(name: str, seed: int) -> VideoClassifier:
    """One whose BatchNorm has seen clips and whose residual blocks are no identities, as timm begins them."""
    torch.manual_seed(seed)
    model = CASES[name].make()
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        nn.init.ones_(norm.weight)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(batch_for(model, clips(8)))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def model_of(name: str, seed: int = 0) -> VideoClassifier:
    """A classifier of its own for a test."""
    return copy.deepcopy(settled(name, seed))


every_case = pytest.mark.parametrize("name", CASES)
freezing_case = pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.freezes])


# Clips


def clips(count: int, seed: int = 0) -> ClipBatch:
    """Clips that have everything, as a loader gives them."""
    generator = torch.Generator().manual_seed(seed)

    def pictures(side: int, *shape: int) -> Tensor:
        return torch.randint(256, (count, *shape, 3, side, side), dtype=torch.uint8, generator=generator)

    def numbers(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    return ClipBatch(
        clip_id=tuple(f"clip{place}" for place in range(count)),
        label=torch.arange(count) % len(SEVEN),
        mask=torch.ones(count, FRAMES, dtype=torch.bool),
        frame_index=torch.arange(FRAMES).expand(count, FRAMES),
        face=pictures(SIDE, FRAMES),
        person=pictures(SIDE, FRAMES),
        landmarks=SIDE * numbers(FRAMES, 68, 3),
        head_pose=60 * numbers(FRAMES, 3),
        spectrogram=pictures(2 * SIDE),
        descriptor=numbers(FUNCTIONALS),
        log_mel=numbers(20, 80),
        present=torch.ones(count, 2, dtype=torch.bool),
    )


def strange_clips(filling: ClipBatch | None = None) -> ClipBatch:
    """A clip with everything, and nine that lack something; where they do stands the filling."""
    batch = clips(10)
    batch.mask[1] = torch.tensor([True, False, True, True, False, True])  # frames without a face
    batch.mask[2, 1:] = False  # one frame
    batch.mask[3, :-1] = False  # the last one
    batch.mask[4] = batch.mask[5] = batch.mask[6] = False  # no face
    batch.present[4] = torch.tensor([False, False])  # nothing at all
    batch.present[5:7, 0] = batch.present[7, 1] = False
    for values in (batch.face, batch.person, batch.landmarks):
        values[8] = values[8, 0].clone()  # a still
        values[9] = 0  # black
    batch.landmarks[7] = batch.head_pose[7] = float("nan")  # a face that no landmarks were found in
    if filling is None:
        return batch
    frame, audio = ~batch.mask, ~batch.present[:, 1]
    for name in INPUTS:
        missing = frame if name not in WITHOUT_FRAMES else audio
        getattr(batch, name)[missing] = getattr(filling, name)[missing]
    return batch


def batch_for(model: VideoClassifier, batch: ClipBatch) -> ClipBatch:
    """What the model is given of clips: what it asks for, and nothing else."""
    left_out = dict.fromkeys(INPUTS.keys() - model.inputs)
    return replace(batch, **left_out)


def changed(batch: ClipBatch, change: Callable[[str, Tensor], Tensor]) -> ClipBatch:
    """The batch with its tensors changed, by their names."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(batch, **{name: change(name, value) for name, value in values.items() if isinstance(value, Tensor)})


def chosen(batch: ClipBatch, places: list[int]) -> ClipBatch:
    """Some of the clips."""
    clip_id = tuple(batch.clip_id[place] for place in places)
    return replace(changed(batch, lambda _, value: value[places]), clip_id=clip_id)


def of_frames(batch: ClipBatch, frames: slice) -> ClipBatch:
    """Some frames of all clips."""
    return changed(batch, lambda name, value: value if name in WITHOUT_FRAMES else value[:, frames])


def answers(model: VideoClassifier, batch: ClipBatch) -> ClassifierOutput:
    with torch.no_grad():
        return model(batch)


def told(output: ClassifierOutput) -> Tensor:
    """(B, D), all that an output says, NaN as a number."""
    values = [output.logits, output.feature, *(stream.logits for stream in output.streams)]
    return torch.cat([value.nan_to_num(nan=-99.0) for value in values], dim=1)


def learning(model: VideoClassifier) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


# What all keep to


def test_every_public_classifier_has_a_case():
    assert {type(case.make()) for case in CASES.values()} == set(PUBLIC.values())


@pytest.mark.parametrize("name", PUBLIC)
def test_it_is_made_of_class_names_alone(name):
    with torch.device("meta"):  # numbers without memory
        model = PUBLIC[name](class_names=SEVEN)
        with pytest.raises(ValueError, match="alphabetical"):
            PUBLIC[name](class_names=SEVEN[::-1])
    assert model.class_names == SEVEN
    assert model.inputs <= INPUTS.keys()
    if learning(model):
        with pytest.raises(ValueError, match=f"{name} has no optimiser"):
            model.configure_optimizers()


@every_case
def test_gradients_reach_all_that_learns_and_nothing_else(name):
    case = CASES[name]
    model = model_of(name).train()
    assert bool(learning(model)) == case.learns
    if not case.learns:
        return
    batch = batch_for(model, clips(8))
    model.loss(model(batch), batch).backward()
    for parameter_name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
        assert parameter.grad is None or parameter.grad.isfinite().all(), parameter_name
    assert {key for key, value in learning(model).items() if not value.grad.any()} <= case.unmoved


@every_case
def test_gradients_are_finite_whatever_clips_lack(name):
    """All have one, though it may be zero: the processes of a distributed training must agree on that."""
    model = model_of(name).train()
    for places in (list(range(10)), [2, 2], [4, 4], [7, 7], [9, 9]):  # all kinds, and batches of one kind
        batch = batch_for(model, chosen(strange_clips(), places))
        output = model(batch)
        loss = model.loss(output, batch)
        for values in (loss, output.logits, output.feature, output.attention):
            assert values is None or values.isfinite().all(), places
        model.zero_grad()
        if CASES[name].learns:
            loss.backward()
        gradients = {key: value.grad for key, value in learning(model).items()}
        assert not [key for key, value in gradients.items() if value is None or not value.isfinite().all()], places


@every_case
def test_what_stands_in_the_place_of_the_missing_is_not_seen(name):
    model = model_of(name)
    expected = answers(model, batch_for(model, strange_clips()))
    nan = replace(clips(10, seed=5), landmarks=torch.full((10, FRAMES, 68, 3), float("nan")))
    for filling in (clips(10, seed=5), nan):
        found = answers(model, batch_for(model, strange_clips(filling)))
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.feature, expected.feature, atol=1e-5, rtol=0)
        if expected.attention is not None:
            torch.testing.assert_close(found.attention, expected.attention, atol=1e-5, rtol=0)


@every_case
def test_a_batch_is_its_clips_one_by_one(name):
    model = model_of(name)
    batch = batch_for(model, strange_clips())
    found = answers(model, batch)
    assert found.logits.isfinite().all()
    single = [told(answers(model, chosen(batch, [place]))) for place in range(len(batch))]
    torch.testing.assert_close(told(found), torch.cat(single), atol=CASES[name].noise, rtol=0)
    assert (found.feature[0] - found.feature[8]).abs().max() > CASES[name].noise  # it looks at them


@pytest.mark.parametrize("frames", [FRAMES, 1])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.any_length])
def test_padding_to_any_length_changes_nothing(name, frames):
    """Padding before, between and after the frames."""
    model, short = model_of(name), of_frames(strange_clips(), slice(frames))
    other, real = clips(10, seed=5), 1 + 2 * torch.arange(frames)

    def padded(field: str, value: Tensor) -> Tensor:
        if field in WITHOUT_FRAMES:
            return value
        longer = getattr(other, field).repeat_interleave(3, dim=1)  # (B, 3 T, ...)
        longer[:, real] = value
        return longer & torch.isin(torch.arange(3 * FRAMES), real) if field == "mask" else longer

    one, two = (answers(model, batch_for(model, batch)) for batch in (short, changed(short, padded)))
    torch.testing.assert_close(told(two), told(one), atol=CASES[name].noise, rtol=0)
    if one.attention is not None and one.attention.shape != two.attention.shape:  # over frames
        torch.testing.assert_close(two.attention[:, real], one.attention, atol=1e-5, rtol=0)
        assert two.attention.sum(dim=1).allclose(one.attention.sum(dim=1))


@every_case
def test_frozen_parts_stay_as_they_are_in_a_training(name):
    """BatchNorm's statistics are a part of them, and their dropout is off."""
    case = CASES[name]
    model = model_of(name).train()
    parts = [copy.deepcopy(part.state_dict()) for part in model.frozen_parts()]
    assert bool(parts) == case.freezes
    assert model.training
    if case.learns:
        optimizer = torch.optim.SGD(learning(model).values(), lr=0.1, momentum=0.9)
        for seed in range(3 if parts else 0):
            batch = batch_for(model, clips(4, seed))
            optimizer.zero_grad()
            model.loss(model(batch), batch).backward()
            optimizer.step()
    for part, state in zip(model.frozen_parts(), parts, strict=True):
        assert all(value.equal(state[key]) for key, value in part.state_dict().items())
        assert not any(module.training for module in part.modules())
        assert not any(p.requires_grad or p.grad is not None for p in part.parameters())


@freezing_case
def test_cached_features_give_exactly_what_pixels_do(name):
    model = model_of(name)
    batch = batch_for(model, strange_clips())
    with torch.no_grad():
        made = model.forward_frozen(batch)
    cached = replace(batch, face=None, person=None, features=made.frames, clip_features=made.clip)
    assert torch.equal(answers(model, cached).logits, answers(model, batch).logits)


@every_case
def test_its_weights_are_saved_and_loaded(name, tmp_path):
    model, other = model_of(name), model_of(name, seed=1)
    batch = batch_for(model, strange_clips())
    expected = answers(model, batch).logits
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(answers(other, batch).logits, expected)


@every_case
def test_weights_of_another_shape_are_refused_by_name(name, tmp_path):
    model = model_of(name)
    before = copy.deepcopy(model.state_dict())
    shaped = [key for key, value in before.items() if value.ndim and ".conversion." not in key]
    wrong = {key: value[:-1] if key in shaped else value for key, value in before.items()}
    torch.save({"state_dict": wrong}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=f"have another shape, such as .*{min(shaped)}"):
        load_fitting_weights(model, str(tmp_path / "other.ckpt"))
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    for key in list(dict(model.named_parameters()))[-1:]:  # a support vector machine has none, and takes any size
        with pytest.raises(RuntimeError, match=f"size mismatch for {key}"):
            model.load_state_dict(before | {key: before[key][:-1]})
