"""HiCMAE's fusion in the audio-visual network, beside a plain writing, and transformers as its encoders."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning import (
    AudioVisual,
    FrameBackbone,
    LogMelCNN,
    LogMelFrames,
    PyramidTransformer,
    VideoTransformer,
    random_batch,
)
from fer_lightning.architectures.audio_visual.cross_modal import CrossModalBlock, CrossModalFusion
from fer_lightning.architectures.audio_visual.tokens import SpectralCNN, Tokens, moments_of
from tests.architectures.test_audio_models import AUDIO, BOTH, FACE, PATTERNS, audio_visual, heard_batch
from tests.layers.test_video_transformer import JOINT, REGIONAL
from tests.models import Case, random_images, small_backbone
from tests.plain_transformer import numbers, plain_norm

WIDTH, HEADS = 12, 3
SIZES = {"width": 16, "layers": 1, "heads": 2, "dropout": 0.0, "cross_layers": 1}


def tubelets(options, frames=6) -> AudioVisual:
    transformer = VideoTransformer(**(options | {"frames": frames}), drop_path=0.0)
    return AudioVisual(SEVEN, transformer, small_backbone(), **SIZES)


CONTRACT_CASES = {
    "AudioVisual with attention between": Case(lambda: AudioVisual(SEVEN, small_backbone(), small_backbone(), **SIZES)),
    "AudioVisual of log-mel energies": Case(
        lambda: AudioVisual(SEVEN, small_backbone(), LogMelFrames(width=4), **SIZES)
    ),
    "AudioVisual of tubelets": Case(lambda: tubelets(JOINT), any_length=False),
    "AudioVisual of regions": Case(lambda: tubelets(REGIONAL | {"region": (1, 1, 2)}), any_length=False),
}


def plain_attention(state, name, tokens, context):
    """torch's MultiheadAttention for one clip, whose tokens are all real."""
    query, key, value = (
        x @ weight.T + bias
        for x, weight, bias in zip(
            (tokens, context, context),
            np.split(state[f"{name}.in_proj_weight"], 3),
            np.split(state[f"{name}.in_proj_bias"], 3),
            strict=True,
        )
    )
    found, size = [], WIDTH // HEADS
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        weights = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
        found.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, part])
    return np.concatenate(found, axis=1) @ state[f"{name}.out_proj.weight"].T + state[f"{name}.out_proj.bias"]


def plain_block(state, tokens, other, prefix=""):
    """x + CA(LN(x), LN(y)), then x + SA(LN(x)), then x + MLP(LN(x))."""
    state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    context = plain_norm(state, "context_norm", other)
    x = tokens + plain_attention(state, "cross", plain_norm(state, "norm", tokens), context)
    normed = plain_norm(state, "own.norm1", x)
    x = x + plain_attention(state, "own.self_attn", normed, normed)
    hidden = plain_norm(state, "own.norm2", x) @ state["own.linear1.weight"].T + state["own.linear1.bias"]
    hidden = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return x + hidden @ state["own.linear2.weight"].T + state["own.linear2.bias"]


def randomised(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


def tokens_with_gaps():
    torch.manual_seed(1)
    face = Tokens(
        torch.randn(2, 5, WIDTH, dtype=torch.float64), torch.tensor([[True] * 5, [True, False, True] + [False] * 2])
    )
    audio = Tokens(torch.randn(2, 4, WIDTH, dtype=torch.float64), torch.tensor([[True] * 4, [False, True, True, True]]))
    return face, audio


def real(tokens, clip):
    return tokens.values[clip][tokens.mask[clip]].numpy()


def test_a_block_attends_to_the_other_modality_then_to_its_own():
    block, (face, audio) = randomised(CrossModalBlock(WIDTH, HEADS, 0.5)), tokens_with_gaps()
    found, state = block(face, audio), numbers(block)
    assert found.mask is face.mask
    for clip in range(2):
        expected = plain_block(state, real(face, clip), real(audio, clip))
        assert found.values[clip][face.mask[clip]].detach().numpy() == pytest.approx(expected, abs=1e-8)


def test_the_fusion_reads_both_means_behind_blocks_that_run_side_by_side():
    fusion, (face, audio) = randomised(CrossModalFusion(WIDTH, 7, 2, HEADS, 0.5)), tokens_with_gaps()
    logits, feature = fusion(face, audio)
    state = numbers(fusion)
    for clip in range(2):
        seen, heard = real(face, clip), real(audio, clip)
        for layer in range(2):
            seen, heard = (
                plain_block(state, seen, heard, f"face.{layer}."),
                plain_block(state, heard, seen, f"audio.{layer}."),
            )
        mean = np.concatenate([seen.mean(axis=0), heard.mean(axis=0)])
        expected = plain_norm(state, "norm", mean[None])[0]
        assert feature[clip].detach().numpy() == pytest.approx(expected, abs=1e-7)
        scores = expected @ state["score.weight"].T + state["score.bias"]
        assert logits[clip].detach().numpy() == pytest.approx(scores, abs=1e-7)


def crossed(**options) -> AudioVisual:
    return audio_visual(cross_layers=1, dropout=0.0, **options)


def test_a_half_alone_gives_its_own_answer_and_both_one_more():
    model, batch = crossed().eval(), heard_batch()
    output = model(batch)
    assert output.logits.isfinite().all()
    face, voice = (stream.logits for stream in output.streams)
    torch.testing.assert_close(output.logits[2], face[2])
    torch.testing.assert_close(output.logits[3], voice[3])
    assert (output.logits[5] == 0).all()
    joint = output.logits[batch.present.all(dim=1)] - (face + voice)[batch.present.all(dim=1)]
    assert (joint.abs().amax(dim=1) > 1e-3).all()
    assert output.feature.shape == (len(PATTERNS), 4 * 16)
    assert (output.feature[~batch.present.all(dim=1), 2 * 16 :] == 0).all()


@pytest.mark.parametrize("missing", ["face", "audio"])
def test_a_clip_from_which_a_half_is_taken_is_one_that_never_had_it(missing):
    model, batch = crossed().eval(), heard_batch((BOTH, BOTH))
    there = torch.tensor([AUDIO if missing == "face" else FACE] * 2)
    mask = batch.mask & there[:, :1]
    found = model(replace(batch, present=there, mask=mask))
    expected = model(batch).streams[1 if missing == "face" else 0].logits
    torch.testing.assert_close(found.logits, expected)


def test_a_hidden_modality_is_not_seen_by_the_other(monkeypatch):
    model, batch = crossed().eval(), heard_batch((BOTH, BOTH, BOTH))
    monkeypatch.setattr(model, "visible_modalities", lambda present: torch.tensor([FACE, AUDIO, BOTH]))
    hidden = model(batch)
    torch.testing.assert_close(hidden.logits[0], hidden.streams[0].logits[0])
    torch.testing.assert_close(hidden.logits[1], hidden.streams[1].logits[1])
    assert not torch.allclose(hidden.logits[2], hidden.streams[0].logits[2] + hidden.streams[1].logits[2])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_fusion_answers_for_the_clips_that_modality_dropout_leaves_whole(share):
    model = crossed(modality_dropout=share)
    batch = heard_batch((BOTH,) * 400)
    batch = replace(
        batch, face=batch.face[:, :1, :, :8, :8], mask=batch.mask[:, :1], spectrogram=batch.spectrogram[..., :32, :32]
    )
    torch.manual_seed(0)
    joint = model.train()(batch).feature[:, 32:].any(dim=1)
    assert 1 - joint.float().mean().item() == pytest.approx(share, abs=0.08)
    assert model.eval()(batch).feature[:, 32:].any(dim=1).all()


def test_the_loss_of_the_sum_reaches_both_encoders_through_the_fusion_alone():
    model, batch = crossed(modality_dropout=0.0).train(), heard_batch((BOTH, BOTH))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    output = model(batch)
    fused = output.logits - sum(stream.logits for stream in output.streams)
    (fused.square().sum()).backward()
    for half in model.halves:
        assert all(parameter.grad.any() for parameter in half.encoder.backbone.parameters())
        assert half.score.weight.grad.abs().max() < 1e-6
    assert all(parameter.grad.any() for parameter in model.cross.parameters())


def test_without_layers_between_it_is_the_network_that_it_was():
    plain = AudioVisual(SEVEN, small_backbone(), small_backbone(), width=16, layers=1, heads=2)
    assert plain.cross is None
    assert {name.split(".")[0] for name, _ in plain.named_parameters()} == {"halves"}
    with pytest.raises(ValueError, match="cross_layers = 2: face alone has nothing to attend to; set it to 0"):
        AudioVisual(SEVEN, small_backbone(), modalities=["face"], cross_layers=2)


@pytest.mark.parametrize(("options", "moments"), [(JOINT, 2), (REGIONAL | {"region": (1, 1, 2)}, 2), (REGIONAL, 1)])
def test_a_video_transformer_gives_its_moments(options, moments):
    model = VideoTransformer(**options).eval()
    faces, mask = random_images(2, 4, 3, 32, 32), torch.ones(2, 4, dtype=torch.bool)
    found = moments_of(model, faces, mask)
    assert found.shape == (2, moments, 12)
    tokens = model.tokens(faces, mask)
    for moment, group in enumerate(tokens.chunk(moments, dim=1)):  # tokens are in the order of time
        torch.testing.assert_close(found[:, moment], model.norm(group.mean(dim=1)))


def test_a_pyramid_gives_the_moments_behind_its_last_stage():
    options = {"frames": 8, "size": 32, "width": 12, "depths": (1, 1), "heads": 2, "bottleneck": 3}
    model = PyramidTransformer(**options).eval()
    faces, mask = random_images(2, 8, 3, 32, 32), torch.ones(2, 8, dtype=torch.bool)
    tokens = model.tokens(faces, mask)  # 2 moments of 4 places
    expected = torch.stack([model.norm(tokens[:, :4].mean(dim=1)), model.norm(tokens[:, 4:].mean(dim=1))], dim=1)
    torch.testing.assert_close(moments_of(model, faces, mask), expected)


def test_the_moments_of_a_vision_transformer_are_the_columns_of_its_patches():
    torch.manual_seed(0)
    network = SpectralCNN(FrameBackbone("vit_tiny_patch16_224")).eval()
    pictures, heard = random_images(2, 3, 224, 224), torch.tensor([True, False])
    with torch.no_grad():
        found = network(pictures, heard)
        images = network.backbone.normalise(pictures)
        patches = network.backbone.network.forward_features(images)[0, 1:]  # without the class token
    assert found.shape == (2, 14, 192)
    for column in range(14):
        torch.testing.assert_close(found[0, column], patches[column::14].mean(dim=0), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        silent = network(random_images(2, 3, 224, 224, seed=1), heard)
    torch.testing.assert_close(silent[1], found[1])


def test_the_moments_of_log_mel_energies_are_the_frames_that_their_network_pools():
    torch.manual_seed(0)
    classifier, model = (
        LogMelCNN(SEVEN, width=4).eval(),
        AudioVisual(SEVEN, small_backbone(), LogMelFrames(width=4)).eval(),
    )
    encoder = model.halves[1].encoder
    encoder.backbone.load_state_dict({key: classifier.state_dict()[key] for key in encoder.backbone.state_dict()})
    assert model.inputs == {"face", "log_mel"}
    batch = random_batch(model.inputs)
    frames, mask = encoder.backbone.frames(batch)
    torch.testing.assert_close(classifier(batch).feature, classifier.pooling(frames, mask))
    found = encoder(batch)
    torch.testing.assert_close(found.values, encoder.tokens(frames, mask).values)
    assert found.mask.equal(mask)


def test_the_bands_of_an_audio_visual_network_are_measured_over_the_training_clips():
    model = AudioVisual(SEVEN, small_backbone(), LogMelFrames(width=4))
    batches = [random_batch(model.inputs, seed=seed) for seed in range(3)]
    batches[0].log_mel[0, 20:] = torch.nan  # frames that are not there

    class Data:
        def fitting_dataloader(self):
            return batches

    model.fit_statistics(Data())
    frames = torch.cat([batch.log_mel.flatten(0, 1) for batch in batches])
    frames = frames[frames.isfinite().all(dim=1)]
    assert len(frames) == 6 * 32 - 12
    backbone = model.halves[1].encoder.backbone
    torch.testing.assert_close(backbone.mean, frames.mean(dim=0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(backbone.deviation, frames.std(dim=0, correction=0), atol=1e-5, rtol=1e-4)
