"""The audio models and the audio-visual one: what is missing, what is hidden in training, and what each half says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning import AudioVisual, FrameBackbone, OpenSmileSVM, SpectrogramCNN
from fer_lightning.architectures.audio_visual.network import Pooling
from fer_lightning.architectures.audio_visual.tokens import SpectralFilters, Tokens, time_encoding
from fer_lightning.training.cost import count_parameters
from tests.models import Case, random_batch, random_images, small_backbone

BOTH, FACE, AUDIO, NONE = (True, True), (True, False), (False, True), (False, False)
PATTERNS = (BOTH, BOTH, FACE, AUDIO, BOTH, NONE)
FRAMES = 5
SIZES = {"width": 16, "heads": 2, "layers": 1}

CONTRACT_CASES = {"SpectrogramCNN": Case(lambda: SpectrogramCNN(SEVEN, small_backbone(), dropout=0.0))}


def heard_batch(patterns=PATTERNS, seed=0, size=64) -> ClipBatch:
    """Clips that have a face, audio, both or none; zeros where they have not, and the second one lacks two frames."""
    present = torch.tensor(patterns)
    mask = present[:, :1].repeat(1, FRAMES)
    if len(patterns) > 1:
        mask[1, 3:] = False
    batch = random_batch(len(patterns), FRAMES, mask=mask, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    spectrogram = random_images(len(patterns), 3, size, size, seed=seed + 1)
    return replace(
        batch,
        present=present,
        face=batch.face * mask[..., None, None, None],
        spectrogram=spectrogram * present[:, 1, None, None, None],
        descriptor=torch.randn(len(patterns), 12, generator=generator) * present[:, 1:],
    )


def audio_visual(audio="cnn", **options) -> AudioVisual:
    torch.manual_seed(0)
    return AudioVisual(SEVEN, small_backbone(), small_backbone() if audio == "cnn" else None, **(SIZES | options))


def open_residuals(model):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # timm begins residual branches at zero, which hides their gradients


def parts(output):
    """All that an output says, NaN as a number."""
    values = [output.logits, output.feature, *(stream.logits for stream in output.streams)]
    return torch.cat([value.nan_to_num(nan=-99.0) for value in values], dim=1)


def test_each_model_asks_for_what_it_reads():
    assert SpectrogramCNN(SEVEN, small_backbone()).inputs == {"spectrogram"}
    assert OpenSmileSVM(SEVEN).inputs == {"descriptor"}
    assert audio_visual().inputs == {"face", "spectrogram"}
    assert audio_visual(modalities=["audio"]).inputs == {"spectrogram"}
    assert audio_visual(modalities=["face"]).inputs == AudioVisual.inputs == {"face"}


def test_a_gradient_reaches_all_parts_of_clips_alike():
    """Processes of a distributed training must agree on what has a gradient, if only zeros."""
    for patterns in ((BOTH, BOTH), (FACE, FACE), (AUDIO, AUDIO), (NONE, NONE)):
        model, batch = audio_visual(), heard_batch(patterns)
        model.loss(model(batch), batch).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("modalities", [["face", "audio"], ["face"], ["audio"]])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("audio", ["cnn", "filters"])
def test_nothing_is_nan_but_the_stream_of_what_is_missing(modalities, training, audio):
    model = audio_visual(audio, modalities=modalities).train(training)
    output = model(heard_batch())
    assert output.logits.isfinite().all()
    assert output.feature.isfinite().all()
    seen = torch.tensor(PATTERNS)[:, [("face", "audio").index(name) for name in modalities]].any(dim=1)
    assert (output.logits[~seen] == 0).all()
    assert (output.logits[seen].abs().sum(dim=1) > 0).all()
    assert [stream.name for stream in output.streams] == (["face", "audio"] if len(modalities) == 2 else [])
    for column, stream in enumerate(output.streams):
        there = torch.tensor(PATTERNS)[:, column]
        assert stream.logits[there].isfinite().all()
        assert stream.logits[~there].isnan().all()


def test_attention_is_over_the_frames_that_are_seen():
    model, batch = audio_visual().eval(), heard_batch()
    attention = model(batch).attention
    assert attention.shape == (len(batch), FRAMES)
    assert (attention[~batch.mask] == 0).all()
    assert (attention[batch.mask] > 0).all()
    assert attention.sum(dim=1).tolist() == pytest.approx([1, 1, 1, 0, 1, 0], abs=1e-5)
    assert audio_visual(modalities=["audio"])(batch).attention is None


def test_what_lies_in_the_place_of_the_missing_is_not_seen():
    model, batch = audio_visual().eval(), heard_batch()
    noise = random_images(*batch.face.shape, seed=9)
    loud = random_images(*batch.spectrogram.shape, seed=9)
    other = replace(
        batch,
        face=torch.where(batch.mask[..., None, None, None], batch.face, noise),
        spectrogram=torch.where(batch.present[:, 1, None, None, None], batch.spectrogram, loud),
        descriptor=torch.where(batch.present[:, 1:], batch.descriptor, 3.0),
    )
    face, filters = audio_visual(modalities=["face"]).eval(), audio_visual("filters").eval()
    for one in (model, face, filters, SpectrogramCNN(SEVEN, small_backbone()).eval()):
        torch.testing.assert_close(parts(one(other)), parts(one(batch)))


def test_training_measures_the_frames_that_are_seen_and_no_others():
    """What stands in the place of a face must not move BatchNorm, through which all clips would see it."""
    batch = heard_batch((BOTH, BOTH, AUDIO, FACE), size=32)
    noise = torch.where(batch.mask[..., None, None, None], batch.face, random_images(*batch.face.shape, seed=9))
    kept = [0, 1, 3]
    fewer = {name: getattr(batch, name)[kept] for name in ("label", "mask", "face", "spectrogram", "present")}
    found = []
    for each in (batch, replace(batch, face=noise), replace(batch, clip_id=batch.clip_id[:3], **fewer)):
        model = audio_visual(modalities=["face"], dropout=0.0).train()
        network = model.halves[0].encoder.backbone.network
        convolution, norm = network.conv1[:2]
        norm.momentum = 1.0
        found.append(model(each).logits)
        real = model.halves[0].encoder.backbone.normalise(batch.face[batch.mask])
        values = convolution(real).transpose(0, 1).flatten(1)
        torch.testing.assert_close(norm.running_mean, values.mean(dim=1), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(norm.running_var, values.var(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2], found[0][kept], atol=1e-5, rtol=1e-4)


def test_the_order_of_frames_counts():
    model, batch = audio_visual().eval(), heard_batch()
    backwards = replace(batch, face=batch.face.flip(1), mask=batch.mask.flip(1))
    change = (model(backwards).logits - model(batch).logits).abs().amax(dim=1)
    assert (change[[0, 1, 2, 4]] > 1e-4).all()
    assert (change[[3, 5]] < 1e-6).all()


def test_both_halves_count_together_and_alone_in_their_streams():
    model, batch = audio_visual().eval(), heard_batch()
    before = model(batch)
    for field, column in (("face", 0), ("spectrogram", 1)):
        after = model(replace(batch, **{field: getattr(batch, field).flip(-1)}))
        there = batch.present[:, column]
        assert ((after.logits - before.logits).abs().amax(dim=1) > 1e-6).equal(there)
        own, other = after.streams[column].logits, after.streams[1 - column].logits
        assert not torch.allclose(own[there], before.streams[column].logits[there])
        torch.testing.assert_close(other, before.streams[1 - column].logits, equal_nan=True)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_modality_dropout_hides_its_share_in_training_alone(share):
    model = audio_visual(modality_dropout=share)
    present = torch.tensor([BOTH, FACE, AUDIO, NONE]).repeat(4000, 1)
    torch.manual_seed(1)
    seen = model.train().visible_modalities(present)
    both = present.all(dim=1)
    assert seen[~both].equal(present[~both])
    kept = seen[both]
    assert kept.any(dim=1).all()  # never both
    hidden = 1 - kept.float().mean(dim=0)
    assert hidden.tolist() == pytest.approx([share / 2, share / 2], abs=0.03)
    assert model.eval().visible_modalities(present).equal(present)
    one = audio_visual(modalities=["audio"], modality_dropout=1.0).train()
    assert one.visible_modalities(present[:, :1]).equal(present[:, :1])


@pytest.mark.parametrize("audio", ["cnn", "filters"])
def test_probabilities_are_multiplied_where_both_are_there(audio):
    model, batch = audio_visual(audio).eval(), heard_batch()
    output = model(batch)
    face, voice = (stream.logits.softmax(dim=1) for stream in output.streams)
    product = face[batch.present.all(dim=1)] * voice[batch.present.all(dim=1)]
    found = output.logits.softmax(dim=1)
    torch.testing.assert_close(found[batch.present.all(dim=1)], product / product.sum(dim=1, keepdim=True))
    torch.testing.assert_close(found[2], face[2])
    torch.testing.assert_close(found[3], voice[3])
    assert found[5].tolist() == pytest.approx([1 / 7] * 7)


def test_a_half_alone_is_the_same_network_without_the_other():
    model, batch = audio_visual().eval(), heard_batch()
    for column, name in enumerate(("face", "audio")):
        alone = audio_visual(modalities=[name]).eval()
        alone.halves[0].load_state_dict(model.halves[column].state_dict())
        there = batch.present[:, column]
        torch.testing.assert_close(alone(batch).logits[there], model(batch).streams[column].logits[there])


def test_a_hidden_modality_is_not_in_the_sum_but_in_its_stream(monkeypatch):
    model, batch = audio_visual().eval(), heard_batch((BOTH, BOTH))
    monkeypatch.setattr(model, "visible_modalities", lambda present: torch.tensor([FACE, AUDIO]))
    hidden = model(batch)
    torch.testing.assert_close(hidden.logits[0], hidden.streams[0].logits[0])
    torch.testing.assert_close(hidden.logits[1], hidden.streams[1].logits[1])
    assert all(stream.logits.isfinite().all() for stream in hidden.streams)


def test_the_loss_is_that_of_the_sum_and_of_each_stream():
    model, batch = audio_visual(stream_weight=0.25).eval(), heard_batch()
    output = model(batch)
    expected = torch.nn.functional.cross_entropy(output.logits, batch.label)
    for column, stream in enumerate(output.streams):
        there = batch.present[:, column]
        losses = torch.nn.functional.cross_entropy(stream.logits[there], batch.label[there], reduction="sum")
        expected = expected + 0.25 * losses / len(batch)
    torch.testing.assert_close(model.loss(output, batch), expected)


def test_moments_go_from_the_first_real_token_to_the_last():
    long = torch.ones(1, 8, dtype=torch.bool)
    gaps = torch.tensor([[True, False] * 8])
    torch.testing.assert_close(time_encoding(long, 6)[0], time_encoding(gaps, 6)[0, ::2])
    assert time_encoding(long, 7).shape == (1, 8, 7)
    assert time_encoding(~long, 6).isfinite().all()
    apart = torch.cdist(time_encoding(long, 6), time_encoding(long, 6))[0]
    assert (apart + torch.eye(8) > 0.1).all()  # no two are told the same


def test_pooling_is_attention():
    torch.manual_seed(0)
    pooling = Pooling(6).double()
    values, mask = torch.randn(3, 4, 6, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    pooled, weights = pooling(Tokens(values, mask.bool()))
    for clip in range(2):
        real = values[clip][mask[clip].bool()].numpy()
        score = real @ pooling.score.weight[0].detach().numpy()
        share = np.exp(score) / np.exp(score).sum()
        assert weights[clip][mask[clip].bool()].detach().numpy() == pytest.approx(share, abs=1e-6)
        assert pooled[clip].detach().numpy() == pytest.approx(share @ real, abs=1e-5)
    assert (weights[2] == 0).all()
    assert (pooled[2] == 0).all()


def test_filters_look_at_the_frequencies_of_every_moment():
    torch.manual_seed(0)
    filters = SpectralFilters(bands=8, filters=3, moments=2).eval()
    pictures = random_images(2, 1, 16, 16).expand(-1, 3, -1, -1)
    heard, level = torch.ones(2, dtype=torch.bool), pictures[:, 0] / 255
    imagenet = zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    level = torch.stack([(level - mean) / std for mean, std in imagenet]).mean(dim=0)
    grey = level.reshape(2, 8, 2, 8, 2).mean(dim=(2, 4)).numpy() / np.sqrt(1 + 1e-5)  # (2, bands, columns)
    weight, bias = (value.detach().numpy() for value in (filters.layers[1].weight[..., 0], filters.layers[1].bias))
    said = torch.nn.functional.gelu(torch.tensor(np.einsum("fb,nbc->ncf", weight, grey) + bias))
    expected = said.reshape(2, 2, 4, 3).mean(dim=2)
    torch.testing.assert_close(filters(pictures, heard), expected.float(), atol=1e-5, rtol=1e-4)
    higher = filters(pictures.roll(4, dims=2), heard)
    assert not torch.allclose(higher, expected.float(), atol=1e-2)  # the same sound at other frequencies is another


@pytest.mark.parametrize("modalities", [["face", "audio"], ["face"], ["audio"]])
def test_inference_gives_what_training_saw(modalities):
    """Without a gradient torch has a faster transformer of its own."""
    model, batch = audio_visual(modalities=modalities, layers=2).eval(), heard_batch()
    with torch.inference_mode():
        fast = parts(model(batch))
    torch.testing.assert_close(fast, parts(model(batch)), atol=1e-5, rtol=1e-4)


def test_arguments_that_mean_nothing_are_refused():
    for modalities in ([], ["voice"], ["face", "face"]):
        with pytest.raises(ValueError, match=r"one or both of .*face"):
            audio_visual(modalities=modalities)
    with pytest.raises(ValueError, match="a share from 0 to 1; found 2"):
        audio_visual(modality_dropout=2)


def test_sound_alone_makes_a_model_without_a_face():
    one, both = audio_visual(modalities=["audio"]), audio_visual()
    assert count_parameters(one) < count_parameters(both)
    assert [type(half.encoder).__name__ for half in one.halves] == ["AudioEncoder"]
    batch = replace(heard_batch(), face=None, mask=torch.zeros(len(PATTERNS), 1, dtype=torch.bool))
    assert one.eval()(batch).logits.isfinite().all()
    assert SpectrogramCNN(SEVEN, small_backbone()).eval()(batch).logits.isfinite().all()


def test_bf16_autocast_stays_near_fp32():
    batch = heard_batch()
    for model in (audio_visual().eval(), SpectrogramCNN(SEVEN, small_backbone()).eval()):
        with torch.autocast("cpu", torch.bfloat16):
            mixed = parts(model(batch))
        assert torch.allclose(mixed.float(), parts(model(batch)), atol=0.1)


def voices(clips=70, size=12, seed=0):
    """(M, D) descriptors of very different scales, their classes, and subjects."""
    rng = np.random.default_rng(seed)
    y = np.arange(clips) % len(SEVEN)
    x = rng.normal(size=(len(SEVEN), size))[y] + rng.normal(size=(clips, size))
    return torch.tensor(x * np.geomspace(1e-3, 1e3, size), dtype=torch.float32), torch.tensor(y)


def fitted(**options) -> OpenSmileSVM:
    x, y = voices()
    model = OpenSmileSVM(SEVEN, **({"costs": (1.0,)} | options))
    model.machine.fit(x, y, [f"s{place // 7}" for place in range(len(y))])
    return model


def test_a_linear_machine_is_scikit_learns():
    model, (x, y), (new, _) = fitted(), voices(), voices(seed=1)
    scaled = [model.machine.scaler(vectors).double().numpy() for vectors in (x, new)]
    cost = 1 / (scaled[0].shape[1] * scaled[0].var())  # C times gamma: the kernel is gamma x y
    reference = SVC(kernel="linear", C=cost, decision_function_shape="ovo").fit(scaled[0], y)
    for vectors, normal in zip((x, new), scaled, strict=True):
        expected = reference.decision_function(normal)
        np.testing.assert_allclose(model.machine.pair_values(vectors), expected, atol=5e-3)
    batch = replace(heard_batch((AUDIO,) * 70), descriptor=new, label=y)
    assert (model(batch).logits.argmax(dim=1).numpy() == reference.predict(scaled[1])).mean() > 0.8, "votes there"


def test_clips_without_sound_get_no_answer_of_the_machine():
    model, batch = fitted(), heard_batch()
    x, heard = model.describe_clips(batch)
    assert heard.equal(batch.present[:, 1])
    output = model(batch)
    assert (output.logits[~heard] == 0).all()
    assert (output.logits[heard].abs().sum(dim=1) > 0).all()
    assert output.feature.shape == x.shape
    assert not list(model.parameters())


def test_the_papers_network_is_vgg_19_with_its_layers():
    with torch.device("meta"):
        model = SpectrogramCNN(SEVEN)
        assert count_parameters(model) == 143_667_240 - 4097 * 1000 + 4097 * 7  # of 1000 classes, published
        assert model(heard_meta()).logits.shape == (2, 7)
        assert model(heard_meta()).feature.shape == (2, 4096)


def test_the_audio_visual_network_at_paper_size():
    with torch.device("meta"):
        model = AudioVisual(SEVEN, audio_backbone=FrameBackbone("resnet18"))
        backbones = 2 * count_parameters(FrameBackbone("resnet18"))
        assert backbones < count_parameters(model) < 1.12 * backbones
        assert count_parameters(AudioVisual(SEVEN, modalities=["audio"])) < 0.1 * backbones
        output = model.eval()(heard_meta())
    assert output.logits.shape == (2, 7)
    assert output.attention.shape == (2, 16)


def heard_meta() -> ClipBatch:
    return ClipBatch(
        clip_id=("a", "b"),
        label=torch.zeros(2, dtype=torch.long),
        mask=torch.ones(2, 16, dtype=torch.bool),
        frame_index=torch.zeros(2, 16, dtype=torch.long),
        face=torch.zeros(2, 16, 3, 224, 224, dtype=torch.uint8),
        spectrogram=torch.zeros(2, 3, 224, 224, dtype=torch.uint8),
        present=torch.ones(2, 2, dtype=torch.bool),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "settings"), [(SpectrogramCNN, {}), (AudioVisual, {"modality_dropout": 0.0})])
def test_a_step_at_paper_size_lowers_the_loss(kind, settings):
    torch.manual_seed(0)  # no dropout of any kind: with it, the losses of different steps cannot be compared
    batch = heard_meta()
    batch = replace(
        batch,
        label=torch.tensor([0, 3]),
        face=random_images(2, 16, 3, 224, 224),
        spectrogram=random_images(2, 3, 224, 224),
    )
    model = kind(SEVEN, dropout=0.0, **settings)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        losses.append(model.loss(model(batch), batch))
        losses[-1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert all(loss.isfinite() for loss in losses)
    assert losses[-1] < losses[0]
