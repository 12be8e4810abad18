"""DFER-CLIP from its parts, files of its authors' form, low-rank updates, and trainings by the real trainer."""

import re

import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning import DFERCLIP, CLIPTower, FrameBackbone, TextPrompts
from fer_lightning.layers import clip_text
from fer_lightning.training.cost import count_parameters, multiply_adds
from tests.learning import learned_parts
from tests.models import Case, random_batch, small_backbone
from tests.plain_clip import random_clip

FRAMES, WIDTH, CONTEXTS, LENGTH = 6, 64, 2, 12
THEIRS = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")  # models/Text.py
ELEVEN = (*THEIRS, "contempt", "anxiety", "helplessness", "disappointment")


def tower(**options) -> CLIPTower:
    return CLIPTower(**{"size": 32, "patch": 16, "width": WIDTH, "depth": 2, "features": 48} | options)


def texts(**options) -> TextPrompts:
    return TextPrompts(**{"contexts": CONTEXTS, "width": WIDTH, "depth": 1, "heads": 1, "length": LENGTH} | options)


def small(backbone: FrameBackbone | None = None, names=SEVEN, **options) -> DFERCLIP:
    sizes = {"frames": FRAMES, "depth": 1, "heads": 2, "hidden": 12}
    return DFERCLIP(names, backbone or tower(), **sizes | options)


def seeing(backbone: CLIPTower) -> CLIPTower:
    """With larger weights than those that a training begins with, so that features differ."""
    backbone.load_content(random_clip())
    return backbone


FIRST = frozenset(  # of B A with B = 0
    f"backbone.network.blocks.{block}.{layer}.low_rank_a"
    for block in range(2)
    for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
)
CONTRACT_CASES = {
    "DFERCLIP": Case(lambda: small(text=texts()), any_length=False),
    "DFERCLIP of shared contexts": Case(lambda: small(text=texts(class_specific=False)), any_length=False),
    "DFERCLIP with a linear layer": Case(small, any_length=False),
    "DFERCLIP of low rank": Case(lambda: small(tower(rank=2)), any_length=False, unmoved=FIRST),
    "DFERCLIP of a frozen tower": Case(lambda: small(frozen_backbone=True), freezes=True, any_length=False),
    "DFERCLIP as a linear probe": Case(lambda: small(frozen_backbone=True, depth=0), freezes=True),
    "DFERCLIP of a ResNet": Case(lambda: small(small_backbone(), text=texts()), any_length=False),
}


def test_the_class_token_over_the_frames_is_scored():
    torch.manual_seed(0)
    model, batch = small(text=texts()).eval(), random_batch(3, FRAMES)
    batch.mask[1, 2:] = False
    frames = model.backbone(batch.face)
    feature = model.temporal(frames, batch.mask)
    output = model(batch)
    torch.testing.assert_close(output.feature, feature)
    torch.testing.assert_close(output.logits, model.head(feature))
    mean = small(model.backbone, depth=0).eval()
    torch.testing.assert_close(mean(batch).feature[1], frames[1, :2].mean(dim=0))


def test_parameters_are_those_counted_by_hand():
    with torch.device("meta"):
        model = DFERCLIP(SEVEN, text=TextPrompts())
    encoder = 4 * 512**2 + 512 + 2 * 512 * 1024 + 1024 + 512 + 4 * 512
    image, text, vocabulary = 87_849_216, 38_131_200, 49408 * 512
    assert image + text + vocabulary + 1 == 151_277_313  # CLIP ViT-B/32, as OpenAI's notebook prints it
    assert count_parameters(model) == image + text + encoder + 18 * 512 + 7 * 8 * 512
    assert count_parameters(model.head.tower) == text
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == count_parameters(model) - text


def test_multiply_adds_are_those_counted_by_hand():
    with torch.device("meta"):
        model = DFERCLIP(SEVEN, text=TextPrompts()).eval()
    block = 12 * 768**2
    image = 49 * 3 * 32**2 * 768 + 50 * 12 * block + 768 * 512
    encoder = 17 * (4 * 512**2 + 2 * 512 * 1024)
    text = 7 * (77 * 12 * 12 * 512**2 + 512**2)
    layers = 16 * image + encoder + text + 7 * 512
    attention = 16 * 12 * 2 * 50**2 * 768 + 2 * 17**2 * 512 + 7 * 12 * 2 * 77**2 * 512
    found = multiply_adds(model, random_batch(1, 16, 224).to(torch.device("meta")))
    assert found in (layers, layers + attention)
    assert image / 1e9 == pytest.approx(4.3, abs=0.1)


# Training


def test_parts_have_learning_rates_of_their_own():
    model = small(text=texts(), backbone_lr=1e-5, prompt_lr=1e-3)
    groups = model.parameter_groups()
    assert [group.get("lr") for group in groups] == [None, 1e-5, 1e-3]
    names = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    parts = [{names.pop(id(parameter)).split(".")[0] for parameter in group["params"]} for group in groups]
    assert parts == [{"temporal"}, {"backbone"}, {"head"}]
    assert not names
    assert len(small().parameter_groups()) == 1
    assert [group.get("lr") for group in small(frozen_backbone=True, backbone_lr=1e-5).parameter_groups()] == [None]


@pytest.mark.parametrize(
    ("make", "trained", "rate"),
    [
        (lambda **options: small(text=texts(), **options), {"temporal", "backbone", "prompts"}, 3e-3),
        (lambda **options: small(tower(rank=4), **options), {"temporal", "low_rank", "head"}, 3e-3),
        (lambda **options: small(seeing(tower()), frozen_backbone=True, depth=0, **options), {"head"}, 0.1),
    ],
    ids=["texts", "low rank", "probe"],
)
def test_it_learns_what_shows(make, trained, rate):
    """Bright clips from dark ones, by the trainer; what is frozen stays as it was."""
    torch.manual_seed(0)
    model = make(names=("anger", "joy"), optimizer=lambda groups: torch.optim.AdamW(groups, lr=rate))
    moved = learned_parts(model, FRAMES)
    places = {next(part for part in ("low_rank", "prompts", name.split(".")[0]) if part in name) for name in moved}
    assert places == trained


# The authors' files


def theirs(names: tuple[str, ...]) -> tuple[dict[str, torch.Tensor], DFERCLIP]:
    """A file as main.py saves it: the parts of CLIP stand in it twice, and the tokens of the texts as vectors."""
    torch.manual_seed(1)
    clip, model = random_clip(), small(text=texts(), names=tuple(sorted(names)))
    state = {f"clip_model_.{name}": value for name, value in clip.items()}
    for name, value in clip.items():
        if name.startswith("visual."):
            state[f"image_encoder.{name.removeprefix('visual.')}"] = value
        elif name not in ("logit_scale", "token_embedding.weight"):
            state[f"text_encoder.{name}"] = value
    renames = (
        (r"^blocks\.", "temporal_transformer.layers."),
        (r"^position$", "pos_embedding"),
        (r"^token$", "cls_token"),
        (r"norm1\.", "0.fn.norm."),
        (r"attention\.query_key_value\.", "0.fn.fn.to_qkv."),
        (r"attention\.output\.", "0.fn.fn.to_out.0."),
        (r"norm2\.", "1.fn.norm."),
        (r"mlp\.0\.", "1.fn.fn.net.0."),
        (r"mlp\.2\.", "1.fn.fn.net.3."),
    )
    for name, value in model.temporal.state_dict().items():
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        state[f"temporal_net.{name}"] = value
    embedding = clip["token_embedding.weight"]
    texts_ = [[38, *[2] * CONTEXTS, *range(3, 4 + place % 4), 39] for place in range(len(names))]
    rows = torch.stack([embedding[row + [0] * (LENGTH - len(row))] for row in texts_])
    state["prompt_learner.ctx"] = torch.randn(len(names), CONTEXTS, WIDTH)
    state["prompt_learner.token_prefix"], state["prompt_learner.token_suffix"] = rows[:, :1], rows[:, 1 + CONTEXTS :]
    with torch.no_grad():  # the model that the file is of
        order = [names.index(name) for name in model.class_names]
        model.head.prompts.contexts.copy_(state["prompt_learner.ctx"][order])
        model.head.prompts.tokens.copy_(torch.cat([rows[:, :1], rows[:, 1 + CONTEXTS :]], dim=1)[order])
        model.head.prompts.end.copy_(torch.tensor([len(row) - 1 for row in texts_])[order])
    model.head.tower.load(clip, "CLIP")
    return {f"module.{name}": value for name, value in state.items()}, model


NAMES = {  # of some tensors, as they stand in the files
    "module.prompt_learner.ctx",
    "module.prompt_learner.token_suffix",
    "module.text_encoder.transformer.resblocks.0.attn.in_proj_weight",
    "module.text_encoder.text_projection",
    "module.image_encoder.class_embedding",
    "module.image_encoder.proj",
    "module.image_encoder.transformer.resblocks.1.mlp.c_fc.weight",
    "module.temporal_net.cls_token",
    "module.temporal_net.temporal_transformer.layers.0.1.fn.fn.net.3.bias",
    "module.clip_model_.token_embedding.weight",
    "module.clip_model_.visual.ln_post.weight",
}


def load(model: DFERCLIP) -> DFERCLIP:
    for part in model.pretrained():
        part.load_weights()
    return model.eval()


@pytest.mark.parametrize("names", [THEIRS, ELEVEN], ids=["seven", "eleven"])
def test_the_authors_files_give_their_model_with_its_classes_in_our_order(tmp_path, names):
    state, expected = theirs(names)
    assert state.keys() >= NAMES
    torch.save({"epoch": 3, "state_dict": state, "best_acc": torch.tensor(71.2)}, tmp_path / "model_best.pth")
    torch.save(random_clip(), tmp_path / "clip.pt")
    expected.backbone.weights = str(tmp_path / "clip.pt")
    load(expected)
    expected.backbone.conversion.__init__("unit")
    found = load(small(text=texts(), names=tuple(sorted(names)), weights=str(tmp_path / "model_best.pth")))
    batch = random_batch(2, FRAMES)
    torch.testing.assert_close(found(batch).logits, expected.eval()(batch).logits)
    assert found.backbone.conversion.convention.name == "unit"


def test_for_other_classes_the_texts_are_those_of_our_descriptions(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_text, "tokeniser", lambda: lambda text: [5] * len(text))
    state, _ = theirs(THEIRS)
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    found = load(small(text=texts(), names=("joy", "rage"), weights=str(tmp_path / "model.pth")))
    assert found.head.prompts.end.tolist() == [CONTEXTS + 4, CONTEXTS + 5]
    embedding = state["module.clip_model_.token_embedding.weight"]
    assert found.head.prompts.tokens[0].equal(embedding[[38, 5, 5, 5, 39, 0, 0, 0, 0, 0]])


def test_files_that_do_not_fit_or_do_not_exist_are_refused(tmp_path):
    state, _ = theirs(THEIRS)
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    path = str(tmp_path / "model.pth")
    with pytest.raises(FileNotFoundError, match=r"no file .*fold1\.pth; the authors publish a file for each fold"):
        load(small(text=texts(), weights=str(tmp_path / "fold1.pth")))
    with pytest.raises(ValueError, match="for a CLIPTower with `text`; found another model"):
        load(small(weights=path))
    with pytest.raises(ValueError, match="not a checkpoint of the same model"):
        load(small(text=texts(), depth=2, weights=path))
    with pytest.raises(ValueError, match="other pixels than 'clip'; found 'unit'"):
        load(small(tower(pixels="clip"), text=texts(), weights=path))
    torch.save(random_clip(), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=r"found no clip_model_\.token_embedding\.weight"):
        load(small(text=texts(), weights=str(tmp_path / "clip.pt")))
