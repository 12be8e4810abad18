"""CLIP's text tower against a plain one, files of OpenAI's form, prompts and their tokens."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fer_lightning import TextPrompts
from fer_lightning.layers import clip_text
from fer_lightning.layers.clip_text import FILE, TextHead
from tests.plain_clip import random_clip, text_feature

LENGTH, WIDTH, FEATURES, CONTEXTS = 12, 64, 48, 3
TOWER = "vit_base_patch32_clip_quickgelu_224.openai"
NAMES = ("anger", "joy")


def head(weights="random", **options) -> TextHead:
    torch.manual_seed(0)
    sizes = {"contexts": CONTEXTS, "width": WIDTH, "depth": 1, "heads": 1, "length": LENGTH}
    return TextHead(NAMES, FEATURES, TextPrompts(weights, **sizes | options), TOWER)


@pytest.fixture
def letters(monkeypatch):
    """Tokens that are the places of letters, in place of CLIP's vocabulary, which is not installed everywhere."""
    monkeypatch.setattr(clip_text, "tokeniser", lambda: lambda text: [ord(letter) - ord("a") for letter in text])


@pytest.mark.parametrize("class_specific", [True, False])
def test_a_clip_is_compared_with_the_texts_of_the_classes(tmp_path, letters, class_specific):
    """start, contexts, description and end, read causally up to the end; cosine similarity times 100."""
    state = random_clip()
    save_file(state, tmp_path / "clip.safetensors")
    found = head(str(tmp_path / "clip.safetensors"), descriptions={"joy": "smile"}, class_specific=class_specific)
    found.load_weights()
    plain = {name: value.double().numpy() for name, value in state.items()}
    embedding, contexts = plain["token_embedding.weight"], found.prompts.contexts.detach().double().numpy()
    texts = []
    for place, text in enumerate(("anger", "smile")):
        ids = [ord(letter) - ord("a") for letter in text]
        tokens = np.zeros((LENGTH, WIDTH)) + embedding[0]
        tokens[0], tokens[1 : 1 + CONTEXTS] = embedding[38], contexts[place if class_specific else 0]
        tokens[1 + CONTEXTS : 1 + CONTEXTS + len(ids)] = embedding[ids]
        end = 1 + CONTEXTS + len(ids)
        tokens[end] = embedding[39]
        texts.append(text_feature(plain, tokens, end))
    feature = torch.randn(5, FEATURES)
    scores = 100 * feature.double().numpy() @ np.array(texts).T
    scores /= np.linalg.norm(feature.numpy(), axis=1)[:, None] * np.linalg.norm(texts, axis=1)
    assert found(feature).detach().numpy() == pytest.approx(scores, abs=1e-3)
    assert len(found.prompts.contexts) == (2 if class_specific else 1)


def test_half_precision_keeps_the_digits_of_the_scores():
    """Scores of CLIP are near 25, where bfloat16's steps are 0.125: as large as the differences between classes."""
    found = head().eval()
    texts = found.tower(found.prompts(), found.prompts.end)
    feature = (torch.nn.functional.normalize(texts.mean(dim=0), dim=0) + 0.15 * torch.randn(200, FEATURES)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = found.tower(found.prompts(), found.prompts.end)
        scores = found(feature)
    one, other = (x.detach().double().numpy() for x in (feature, rounded))
    expected = 100 * one @ other.T / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    assert scores.dtype == torch.float32
    assert scores.detach().numpy() == pytest.approx(expected, abs=1e-3)


def test_the_contexts_alone_are_trained():
    found = head()
    found(torch.randn(2, FEATURES)).square().sum().backward()
    for name, parameter in found.named_parameters():
        assert parameter.requires_grad == (name == "prompts.contexts")
        assert (parameter.grad is not None) == (name == "prompts.contexts")
    assert found.prompts.contexts.grad.any()


def test_what_stands_behind_the_end_of_a_text_is_not_read():
    found, feature = head(), torch.randn(2, FEATURES)
    found.prompts.end.fill_(6)
    before = found(feature)
    found.prompts.tokens[:, 7 - CONTEXTS :] += 1
    torch.testing.assert_close(found(feature), before)
    found.prompts.tokens[:, 6 - CONTEXTS] += torch.randn(WIDTH)
    assert (found(feature) - before).abs().max() > 0.1


def test_files_that_do_not_fit_or_do_not_exist_are_refused(tmp_path, letters, monkeypatch):
    torch.save(random_clip(text_depth=2), tmp_path / "deeper.pt")
    with pytest.raises(ValueError, match=r"text tower: that network has 12 tensors more, such as layers\.1"):
        head(str(tmp_path / "deeper.pt")).load_weights()
    torch.save(random_clip(), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match="description of joy has 9 tokens; expected at most 7"):
        head(str(tmp_path / "clip.pt"), descriptions={"joy": "smilesare"}).load_weights()
    where = rf"published as {FILE} at https://huggingface.co/timm/vit_base_patch32_clip_224.openai"
    with pytest.raises(FileNotFoundError, match=rf"no file .*none\.pt with CLIP's text tower; it is {where}"):
        head(str(tmp_path / "none.pt")).load_weights()
    monkeypatch.setattr(clip_text, "hf_hub_download", no_network)
    with pytest.raises(FileNotFoundError, match=rf"could not be downloaded: ConnectionError; it is {where}"):
        head("hub").load_weights()


def no_network(repository: str, file: str) -> str:
    raise ConnectionError(repository, file)


def test_the_hubs_file_is_that_of_the_image_towers_clip(tmp_path, letters, monkeypatch):
    save_file(random_clip(), tmp_path / FILE)
    asked = []
    monkeypatch.setattr(clip_text, "hf_hub_download", lambda *names: asked.append(names) or str(tmp_path / names[1]))
    head("hub").load_weights()
    assert asked == [("timm/vit_base_patch32_clip_224.openai", FILE)]


def test_without_the_vocabulary_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open_clip.tokenizer", None)
    with pytest.raises(ValueError, match=r"pip install 'fer_lightning\[clip\]'"):
        clip_text.tokeniser()


def test_tokens_are_those_of_clips_vocabulary():
    """The two that OpenAI's notebook of CLIP shows, and their order: 49406 begins a text and 49407 ends it."""
    pytest.importorskip("open_clip")
    encode = clip_text.tokeniser()
    assert encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
