"""The landmark network against its parts written plainly, and what it must not see or change under."""

from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as L
import torch
from sklearn.preprocessing import MinMaxScaler

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from data_modules.sampling import SegmentSampler
from fer_lightning import LandmarkMLP, LandmarkNet
from fer_lightning.architectures.vshnn.landmark_mlp import describe, descriptor_size
from fer_lightning.layers.landmark_descriptors import PAIRS
from fer_lightning.layers.scaling import RangeScaler
from tests.layers.test_landmark_descriptors import faces, plain_lmed_cf
from tests.small_runs import made_data

DESCRIPTORS = ("lmed_cf", "lmed", "trajectory")


def clips_of(landmarks, mask=None, labels=None) -> ClipBatch:
    clips, frames = landmarks.shape[:2]
    return ClipBatch(
        clip_id=tuple(f"clip{i}" for i in range(clips)),
        label=torch.arange(clips) % 7 if labels is None else labels,
        mask=torch.ones(clips, frames, dtype=torch.bool) if mask is None else mask,
        frame_index=torch.arange(frames).expand(clips, frames),
        landmarks=landmarks,
    )


def fitted_net(descriptor="lmed_cf", frames=16, seed=0, **options) -> LandmarkNet:
    """A net in evaluation mode that has seen clips: scaler and BatchNorm are not what they begin as."""
    torch.manual_seed(seed)
    net = LandmarkNet(7, descriptor, width=12, frames=frames, **options).double()
    net.features.fit([clips_of(faces(20, frames, seed=7))])
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                tensor.data.uniform_(0.5, 1.5)
    return net.eval()


def everywhere(landmarks):
    return torch.ones(landmarks.shape[:2], dtype=torch.bool)


def value(tensor):
    return tensor.detach().double().numpy()


def plain_trajectory(points, real):
    """One clip (N, 68, 3), (N,): DTGN's coordinates, frame by frame."""
    rows = []
    for n in range(len(points)):
        nearest = min(np.flatnonzero(real), key=lambda m: (abs(m - n), m))
        flat = points[nearest, :, :2]
        rows.append(((flat - flat[30]) / flat.std(axis=0)).ravel())
    return np.concatenate(rows)


def plain_descriptor(descriptor, points, real):
    if descriptor == "trajectory":
        return plain_trajectory(points, real)
    whole = plain_lmed_cf(points, real)
    return whole if descriptor == "lmed_cf" else whole[:102]


@pytest.mark.parametrize("modules", [2, 3])
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_the_network_is_descriptor_scaler_and_modules(descriptor, modules):
    net = fitted_net(descriptor, modules=modules)
    landmarks = faces(4, 16, seed=3)
    mask = torch.rand(4, 16, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[:, 5] = True
    output = net(landmarks, mask)
    seen = np.stack([plain_descriptor(descriptor, clip, np.ones(16, bool)) for clip in faces(20, 16, seed=7).numpy()])
    x = np.stack([plain_descriptor(descriptor, *clip) for clip in zip(landmarks.numpy(), mask.numpy(), strict=True)])
    moving = np.ptp(seen, axis=0) > 1e-6
    x[:, moving] = 2 * (x[:, moving] - seen[:, moving].min(0)) / np.ptp(seen[:, moving], axis=0) - 1
    x[:, ~moving] = 0
    np.testing.assert_allclose(value(output.feature), x, atol=1e-5)
    for linear, norm, _, _ in net.hidden:
        x = x @ value(linear.weight).T
        x = (x - value(norm.running_mean)) / np.sqrt(value(norm.running_var) + norm.eps)
        x = np.maximum(x * value(norm.weight) + value(norm.bias), 0)
    assert len(net.hidden) == modules
    np.testing.assert_allclose(value(output.hidden), x, atol=1e-5)
    scores = x @ value(net.classifier.weight).T + value(net.classifier.bias)
    np.testing.assert_allclose(value(output.scores), scores, atol=1e-5)
    assert output.present.all()


def test_a_raw_descriptor_goes_into_the_network_in_pixels():
    net, landmarks = fitted_net("lmed", descriptor_scaling="raw"), faces(4, 16, seed=3)
    feature = value(net(landmarks, everywhere(landmarks)).feature)
    points = landmarks.numpy()
    pixels = np.stack([np.linalg.norm(points[:, :, a] - points[:, :, b], axis=-1) for a, b in PAIRS], axis=-1)
    expected = np.concatenate([pixels.max(axis=1), pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    np.testing.assert_allclose(feature, expected, atol=1e-9)
    twice = net(2 * landmarks, everywhere(landmarks))
    np.testing.assert_allclose(value(twice.feature), 2 * expected, atol=1e-9)


@pytest.mark.parametrize(("descriptor", "size"), [("lmed_cf", 222), ("lmed", 102), ("trajectory", 16 * 68 * 2)])
def test_the_descriptors_have_their_sizes(descriptor, size):
    assert descriptor_size(descriptor) == size
    assert describe(faces(), everywhere(faces()), descriptor, 16)[0].shape == (3, size)


def turned(landmarks, about="xyz"):
    """All landmarks rotated about axes, scaled and moved, as one rigid head and another camera would have it."""
    rotation = torch.eye(3, dtype=landmarks.dtype)
    for axis, angle in zip("xyz", (0.3, -0.5, 0.7), strict=True):
        if axis in about:
            i, j = [k for k in range(3) if "xyz"[k] != axis]
            turn = torch.eye(3, dtype=landmarks.dtype)
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            rotation = rotation @ turn
    return 2.5 * landmarks @ rotation.T + torch.tensor([30.0, -80.0, 11.0], dtype=landmarks.dtype)


@pytest.mark.parametrize(("descriptor", "about"), [("lmed_cf", "xyz"), ("lmed", "xyz"), ("trajectory", "")])
def test_scores_do_not_change_when_the_head_turns_moves_or_grows(descriptor, about):
    net, landmarks = fitted_net(descriptor), faces(4, seed=5)
    mask = everywhere(landmarks)
    before, after = net(landmarks, mask), net(turned(landmarks, about), mask)
    torch.testing.assert_close(after.scores, before.scores, atol=1e-7, rtol=1e-7)
    assert not torch.allclose(net(faces(4, seed=6), mask).scores, before.scores, atol=1e-3)


def test_trajectories_change_when_the_head_turns():
    net, landmarks = fitted_net("trajectory"), faces(4, seed=5)
    mask = everywhere(landmarks)
    assert not torch.allclose(net(turned(landmarks), mask).scores, net(landmarks, mask).scores, atol=1e-3)


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_frames_without_landmarks_are_as_padded_ones(descriptor):
    net, landmarks = fitted_net(descriptor), faces(3, seed=4)
    mask = everywhere(landmarks)
    mask[0, 3:7] = mask[1, 0] = False
    holes = landmarks.masked_fill(~mask[..., None, None], float("nan"))
    expected = net(landmarks, mask)
    torch.testing.assert_close(net(holes, everywhere(holes)).scores, expected.scores)
    one = holes.clone()
    one[2, 5, 17, 1] = float("nan")  # one lost point is a lost frame
    mask[2, 5] = False
    torch.testing.assert_close(net(one, everywhere(one)).scores, net(landmarks, mask).scores)


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_a_clip_without_landmarks_has_zeros_for_itself_alone(descriptor):
    net, landmarks = fitted_net(descriptor), faces(3, seed=4)
    expected = net(landmarks, everywhere(landmarks))
    landmarks[1] = float("nan")
    output = net(landmarks, everywhere(landmarks))
    assert output.present.tolist() == [True, False, True]
    for name in ("feature", "hidden", "scores"):
        assert not getattr(output, name)[1].any()
        torch.testing.assert_close(getattr(output, name)[::2], getattr(expected, name)[::2])


@pytest.mark.parametrize("present", [12, 2, 1, 0])
def test_clips_without_landmarks_take_no_part_in_batch_norm(present):
    """Six of 18, all but two, all but one, and all of the clips have none."""
    net, landmarks = fitted_net().train(), faces(18, seed=4)
    absent = torch.arange(18) % 3 == 1 if present == 12 else torch.arange(18) >= present
    landmarks[absent] = float("nan")
    x, expected = net.features(landmarks[~absent], everywhere(landmarks[~absent]))[0], []
    for linear, norm, _, _ in net.hidden:
        x = value(torch.as_tensor(x)) @ value(linear.weight).T
        before = value(norm.running_mean), value(norm.running_var)
        mean, variance = (x.mean(axis=0), x.var(axis=0)) if present > 1 else before
        seen = (mean, x.var(axis=0, ddof=1)) if present > 1 else before
        expected += [0.9 * old + 0.1 * new for old, new in zip(before, seen, strict=True)]
        x = np.maximum((x - mean) / np.sqrt(variance + norm.eps) * value(norm.weight) + value(norm.bias), 0)
    scores = np.zeros((18, 7))
    scores[~absent.numpy()] = x @ value(net.classifier.weight).T + value(net.classifier.bias)
    output = net(landmarks, everywhere(landmarks))
    np.testing.assert_allclose(value(output.scores), scores, atol=1e-6)
    found = [value(x) for _, norm, _, _ in net.hidden for x in (norm.running_mean, norm.running_var)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    output.scores.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_another_number_of_frames_is_refused_with_both():
    with pytest.raises(ValueError, match=r"12 frames.*made for 16.*data.sampler.init_args.frames"):
        LandmarkNet(7)(faces(2, 12), torch.ones(2, 12, dtype=torch.bool))


def test_the_scaler_is_scikit_learns():
    rng = np.random.default_rng(0)
    seen, new = rng.normal(5, 3, (50, 9)), rng.normal(5, 9, (20, 9))
    scaler = RangeScaler(9).double()
    torch.testing.assert_close(scaler(torch.tensor(new)), torch.tensor(new))  # nothing was fitted
    scaler.fit(torch.tensor(seen))
    expected = MinMaxScaler((-1, 1)).fit(seen)
    np.testing.assert_allclose(scaler(torch.tensor(seen)), expected.transform(seen), atol=1e-12)
    np.testing.assert_allclose(scaler(torch.tensor(new)), expected.transform(new), atol=1e-12)
    assert scaler(torch.tensor(seen)).abs().max() == 1
    assert scaler(torch.tensor(new)).abs().max() > 1  # outside of the range is kept


def test_a_constant_feature_becomes_zero_also_but_for_rounding():
    x = torch.rand(30, 4)
    x[:, 1], x[:, 2] = 7.3, 7.3 + torch.arange(30) * 1e-8
    scaler = RangeScaler(4)
    scaler.fit(x)
    scaled = scaler(x + torch.tensor([0, 1e-6, 1e-6, 0]))
    assert not scaled[:, 1:3].any()
    assert scaled[:, [0, 3]].std(dim=0).min() > 0.1


@pytest.mark.parametrize("x", [torch.zeros(0, 3), torch.tensor([[0.0, float("nan"), 1.0]])])
def test_nothing_and_nan_cannot_be_fitted_to(x):
    with pytest.raises(ValueError, match="cannot fit a scaler"):
        RangeScaler(3).fit(x)


def trained(model, frames=4, epochs=1):
    """The model and its data after an epoch on made faces."""
    data = made_data(sampler=SegmentSampler(frames), batch_size=7, inputs=model.inputs)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = L.Trainer(
        **quiet, enable_model_summary=False, num_sanity_val_steps=0, max_epochs=epochs, use_distributed_sampler=False
    )
    trainer.fit(model, data)
    return data


def made_mlp(**options) -> LandmarkMLP:
    options = {"frames": 4, "width": 8} | options
    return LandmarkMLP(SEVEN, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-2), **options)


def vectors_of(data, split):
    data_set = data.clip_dataset(split)
    samples = [data_set[i] for i in range(len(data_set))]
    return torch.cat([describe(sample.landmarks, sample.mask, "lmed_cf", 4)[0] for sample in samples])


def test_the_scaler_sees_the_training_clips_alone():
    model = made_mlp()
    data = trained(model)
    scaler = model.net.features.scaler
    x = vectors_of(data, "train")
    assert torch.equal(scaler.low, x.amin(dim=0))
    assert torch.equal(scaler.high, x.amax(dim=0))
    others = torch.cat([vectors_of(data, "inner"), vectors_of(data, "test")])
    assert (others < scaler.low).any()
    assert (others > scaler.high).any()


def test_only_landmarks_are_loaded():
    model = made_mlp()
    data = trained(model)
    batch = next(iter(data.train_dataloader()))
    assert batch.face is None
    assert batch.landmarks.shape == (7, 4, 68, 3)
    assert {clip.record.clip_id for clip in data.without_input("train")} | {
        clip.record.clip_id for clip in data.without_input("test")
    } == {"s0-anger", "s9-fear"}


def test_a_step_of_training_moves_every_parameter():
    model = made_mlp()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trained(model)
    still = [name for name, parameter in model.named_parameters() if parameter.equal(before[name])]
    assert not still


def test_fits_of_the_same_clips_are_the_same():
    first, second = made_mlp(), made_mlp()
    trained(first)
    trained(second)
    for name in ("low", "high"):
        ours, theirs = (getattr(model.net.features.scaler, name) for model in (first, second))
        assert torch.equal(ours, theirs)


def test_training_clips_without_any_landmarks_are_an_error():
    net = LandmarkNet(7)
    with pytest.raises(ValueError, match="no training clip has landmarks"):
        net.features.fit([clips_of(torch.full((2, 16, 68, 3), float("nan")))])


def test_the_model_says_what_its_clips_look_like():
    model = made_mlp(frames=16).eval()
    batch = clips_of(faces(3, dtype=torch.float32))
    output = model(batch)
    assert output.logits.shape == (3, 7)
    assert output.feature.shape == (3, 8)
    assert (
        model(replace(batch, landmarks=batch.landmarks * float("nan")))
        .logits.softmax(dim=1)
        .allclose(torch.tensor(1 / 7))
    )
