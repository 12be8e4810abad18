"""The transformer's encoder written plainly in NumPy, for one clip at a time."""

import numpy as np


def numbers(module):
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def plain_attention(state, tokens, visible, heads, prefix=""):
    """softmax(Q K^T / sqrt(d)) V of each head, for one clip's tokens (N, D)."""
    query, key, value = np.split(tokens @ state[f"{prefix}query_key_value.weight"].T, 3, axis=1)
    found, size = [], tokens.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        weights = np.exp(scores) * visible
        found.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, part])
    found = np.concatenate(found, axis=1)
    if f"{prefix}output.weight" not in state:
        return found
    return found @ state[f"{prefix}output.weight"].T + state[f"{prefix}output.bias"]


def plain_norm(state, name, x):
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def plain_block(state, tokens, visible, heads):
    """x + MHSA(LN(x)), then x + MLP(LN(x))."""
    x = tokens + plain_attention(state, plain_norm(state, "norm1", tokens), visible, heads, "attention.")
    hidden = plain_norm(state, "norm2", x) @ state["mlp.0.weight"].T + state["mlp.0.bias"]
    hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    return x + hidden @ state["mlp.2.weight"].T + state["mlp.2.bias"]
