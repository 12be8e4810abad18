"""CLIP's towers written plainly in NumPy from tensors by OpenAI's names, and random ones of small towers."""

import numpy as np
import torch


def random_clip(width=64, depth=2, patch=16, side=2, features=48, text=64, text_depth=1, vocabulary=40, length=12):
    """A small CLIP's tensors, as in OpenAI's files: towers with a head for each 64 of a token's length."""
    rng = np.random.default_rng(0)

    def block(prefix, size):
        yield f"{prefix}.attn.in_proj_weight", (3 * size, size)
        yield f"{prefix}.attn.in_proj_bias", (3 * size,)
        yield f"{prefix}.attn.out_proj.weight", (size, size)
        yield f"{prefix}.attn.out_proj.bias", (size,)
        yield f"{prefix}.mlp.c_fc.weight", (4 * size, size)
        yield f"{prefix}.mlp.c_fc.bias", (4 * size,)
        yield f"{prefix}.mlp.c_proj.weight", (size, 4 * size)
        yield f"{prefix}.mlp.c_proj.bias", (size,)
        yield from ((f"{prefix}.{norm}.{end}", (size,)) for norm in ("ln_1", "ln_2") for end in ("weight", "bias"))

    shapes = {
        "positional_embedding": (length, text),
        "text_projection": (text, features),
        "logit_scale": (),
        "token_embedding.weight": (vocabulary, text),
        "ln_final.weight": (text,),
        "ln_final.bias": (text,),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (side**2 + 1, width),
        "visual.proj": (width, features),
        "visual.conv1.weight": (width, 3, patch, patch),
    }
    shapes |= {f"visual.{norm}.{end}": (width,) for norm in ("ln_pre", "ln_post") for end in ("weight", "bias")}
    for number in range(depth):
        shapes |= dict(block(f"visual.transformer.resblocks.{number}", width))
    for number in range(text_depth):
        shapes |= dict(block(f"transformer.resblocks.{number}", text))
    return {name: torch.tensor(0.3 * rng.normal(size=shape)).float() for name, shape in shapes.items()}


def norm(state, name, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def encode(state, prefix, x, causal=False):
    """The encoders over the tokens (N, D) of one image or text."""
    depth = len({name.split("resblocks.")[1].split(".")[0] for name in state if name.startswith(f"{prefix}.")})
    for number in range(depth):
        name = f"{prefix}.{number}"
        parts = norm(state, f"{name}.ln_1", x) @ state[f"{name}.attn.in_proj_weight"].T
        query, key, value = np.split(parts + state[f"{name}.attn.in_proj_bias"], 3, axis=1)
        heads = []
        for begin in range(0, x.shape[1], 64):
            part = slice(begin, begin + 64)
            scores = query[:, part] @ key[:, part].T / 8
            scores = np.where(np.tri(len(x), dtype=bool) | (not causal), scores, -np.inf)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, part])
        x = x + np.concatenate(heads, axis=1) @ state[f"{name}.attn.out_proj.weight"].T
        x = x + state[f"{name}.attn.out_proj.bias"]
        hidden = norm(state, f"{name}.ln_2", x) @ state[f"{name}.mlp.c_fc.weight"].T + state[f"{name}.mlp.c_fc.bias"]
        hidden = hidden / (1 + np.exp(-1.702 * hidden))
        x = x + hidden @ state[f"{name}.mlp.c_proj.weight"].T + state[f"{name}.mlp.c_proj.bias"]
    return x


def image_feature(state, image):
    """Of normalised pixels (3, H, W)."""
    weight = state["visual.conv1.weight"]
    patch = weight.shape[2]
    tokens = [state["visual.class_embedding"]]
    for row in range(0, image.shape[1], patch):
        for column in range(0, image.shape[2], patch):
            pixels = image[:, row : row + patch, column : column + patch]
            tokens.append((weight * pixels).sum(axis=(1, 2, 3)))
    x = norm(state, "visual.ln_pre", np.array(tokens) + state["visual.positional_embedding"])
    x = encode(state, "visual.transformer.resblocks", x)
    return norm(state, "visual.ln_post", x[0]) @ state["visual.proj"]


def text_feature(state, tokens, end):
    """Of a text's tokens (L, W) that ends at one of them."""
    x = encode(state, "transformer.resblocks", tokens + state["positional_embedding"], causal=True)
    return norm(state, "ln_final", x[end]) @ state["text_projection"]
