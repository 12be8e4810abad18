"""The network of log-mel energies: its pooling and augmentation by hand, and a training on sound alone."""

import csv
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from data_modules.labels import SEVEN
from fer_lightning import LogMelCNN, VoiceAugmentation, random_batch
from fer_lightning.architectures.log_mel_cnn import AttentiveStatistics
from fer_lightning.cli.main import main
from tests.fakes import write_ravdess_audio
from tests.models import Case


def network(**options) -> LogMelCNN:
    return LogMelCNN(SEVEN, width=4, dropout=0.0, **options)


CONTRACT_CASES = {
    "LogMelCNN": Case(network),
    "LogMelCNN with augmentation": Case(lambda: network(augmentation=VoiceAugmentation())),
}


def clips(*lengths: int, frames: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(frames) < torch.tensor(lengths)[:, None]
    x = torch.randn(len(lengths), frames, 80, generator=torch.Generator().manual_seed(0))
    return x * mask[..., None], mask


def test_pooling_is_the_weighted_mean_and_deviation():
    pooling, (x, mask) = AttentiveStatistics(80, hidden=6), clips(24, 5)
    found = pooling(x, mask)
    for clip, length in enumerate((24, 5)):
        frames = x[clip, :length].double()
        scores = (
            torch.tanh(frames @ pooling.hidden.weight.T.double() + pooling.hidden.bias)
            @ pooling.score.weight[0].double()
        )
        weights = (scores.exp() / scores.exp().sum())[:, None]
        mean = (weights * frames).sum(0)
        deviation = (weights * (frames - mean) ** 2).sum(0).sqrt()
        torch.testing.assert_close(found[clip], torch.cat([mean, deviation]).float(), atol=1e-4, rtol=0)


def test_padding_in_a_batch_changes_nothing():
    model = network().eval()
    batch = random_batch({"log_mel"}, clips=1, frames=9)  # 18 frames of sound
    longer = torch.cat([batch.log_mel, torch.full((1, 13, 80), torch.nan)], dim=1)
    torch.testing.assert_close(model(replace(batch, log_mel=longer)).logits, model(batch).logits, atol=1e-5, rtol=0)


def test_bands_of_another_number_are_refused():
    with pytest.raises(ValueError, match="made for 64 bands, and the data has 80"):
        network(bands=64)(random_batch({"log_mel"}))


def test_augmentation_is_that_of_the_seed_and_only_in_training():
    augmentation, (x, mask) = VoiceAugmentation(), clips(24, 10)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augmentation(x, mask)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    kept, kept_mask = augmentation.eval()(x, mask)
    assert kept is x
    assert kept_mask is mask


@pytest.mark.parametrize("tempo", [0.5, 0.0])
def test_a_faster_voice_is_shorter(tempo, monkeypatch):
    """Of a clip in which frame n has the value n, frame n of one that is 1.5 times as fast has 1.5 n and a bit."""
    augmentation = VoiceAugmentation(tempo=tempo, shift=0, level=0, bands=0, frames=0)
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.ones(*size))  # the largest change
    mask = torch.arange(30) < 24
    x = torch.arange(30.0)[None, :, None].expand(1, 30, 80).contiguous()
    warped, real = augmentation(x, mask[None])
    assert int(real.sum()) == 24 / (1 + tempo)
    expected = (torch.arange(16) + 0.5) * (1 + tempo) - 0.5
    torch.testing.assert_close(warped[0, :16, 40], expected, atol=1e-3, rtol=0)


def test_masks_hide_one_stretch_of_frames_and_one_of_bands():
    augmentation = VoiceAugmentation(tempo=0, shift=0, level=0, bands=8, frames=12)
    x, mask = torch.ones(64, 24, 80), torch.ones(64, 24, dtype=torch.bool)
    changed, real = augmentation(x, mask)
    assert real.all()
    frames, bands = (changed == 0).all(dim=2), (changed == 0).all(dim=1)
    assert 8 < frames.sum(dim=1).max() <= 12
    assert 5 < bands.sum(dim=1).max() <= 8
    for hidden in (frames, bands):
        assert (hidden.int().diff(dim=1) == 1).sum(dim=1).max() <= 1
    assert torch.equal(changed == 0, frames[..., None] | bands[:, None])


def test_it_trains_on_sound_alone_and_standardises_what_it_hears(tmp_path):
    write_ravdess_audio(tmp_path / "data" / "ravdess_audio", actors=24)
    options = ("--model.init_args.width", "4", "--trainer.max_epochs", "1", "--trainer.logger", "false")
    arguments = ("log_mel_cnn_ravdess_audio", *options, "--trainer.precision", "32-true")
    assert not main(["train", *arguments])
    run = tmp_path / "runs" / "log_mel_cnn_ravdess_audio" / "1-0"
    with (run / "predictions" / "test.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * 8
    state = torch.load(next((run / "checkpoints").glob("*.ckpt")), weights_only=True)["state_dict"]
    heard = list((tmp_path / "data" / "store").glob("*/audio/log_mel-*/*.safetensors"))
    assert len(heard) == 24 * 8
    trained = torch.cat([load_file(path)["log_mel"] for path in heard if int(path.stem[-2:]) > 4])
    torch.testing.assert_close(state["mean"], trained.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(state["deviation"], trained.std(0, correction=0), atol=1e-2, rtol=0)
