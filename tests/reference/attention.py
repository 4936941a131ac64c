"""Attention as the contract spells it, with every kind of position and mask.

`self_attention` and `cross_attention` are what a block calls. A query head h
uses key head h * kv_heads // heads.

    x        [B,T,dim]         q [B,H,T,D]      k, v [B,KV,S,D]
    visible  bool [B or 1, 1, T, S]: which key j query i may see
"""
import math

import torch

from layers import linear, rmsnorm


# --- positions ---------------------------------------------------------------

def sinusoids(positions, dim, dtype):
    """PE [n,dim] of positions [n]: sine in even columns, cosine in odd ones."""
    column = torch.arange(dim)
    exponent = 2 * (column // 2).double() / dim
    angle = positions.double()[:, None] / 10000.0 ** exponent
    even = column % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).to(dtype)


def rotary_frequencies(position, head_dim):
    """Radians a position, [head_dim/2]; llama3 scaling slows the low ones."""
    pair = torch.arange(head_dim // 2).double()
    frequency = float(position["base"]) ** (-2 * pair / head_dim)
    scaling = position["scaling"]
    if scaling is None:
        return frequency
    low, high = scaling["low"], scaling["high"]
    turns = scaling["original"] * frequency / (2 * math.pi)
    slowed = frequency / scaling["factor"]
    share = (turns - low) / (high - low)
    mixed = (1 - share) * slowed + share * frequency
    mixed = torch.where(turns < low, slowed, mixed)
    return torch.where(turns > high, frequency, mixed)


def rotate(x, frequency):
    """Turns the pairs (i, i + D/2) of x [B,H,T,D] by position * frequency."""
    length, half = x.shape[2], x.shape[3] // 2
    angle = torch.arange(length).double()[:, None] * frequency
    cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine,
                      second * cosine + first * sine], dim=-1)


def alibi(heads, length, dtype):
    """-slope * |i-j|, [heads,T,T]."""
    head = torch.arange(1, heads + 1).double()
    slope = 2.0 ** (-8 * head / heads)
    position = torch.arange(length).double()
    distance = (position[:, None] - position[None, :]).abs()
    return (-slope[:, None, None] * distance).to(dtype)


def relative_scores(model, p, prefix, q, k):
    """(q + u)·k + (q + v)·(W r_{i-j}), [B,H,T,T]; k [B,H,T,D]."""
    length, dim = q.shape[2], model["dim"]
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    if model["position"]["type"] == "relative":
        every = torch.arange(1 - length, length)
        r = sinusoids(every, dim, q.dtype)
    else:
        middle = model["context"] - 1
        r = p[prefix + "table"][middle + 1 - length:middle + length]
    turned = (r @ p[prefix + "weight"].T).unflatten(1, (q.shape[1], -1))
    u = p[prefix + "content_bias"][:, None]
    v = p[prefix + "position_bias"][:, None]
    by_distance = (q + v) @ turned.permute(1, 2, 0)     # [B,H,T,2T-1]
    index = (distance + length - 1).expand(*q.shape[:2], -1, -1)
    return (q + u) @ k.transpose(2, 3) + by_distance.gather(3, index)


# --- masks -------------------------------------------------------------------

def visible_keys(model, length, stack):
    """Which of its own stack's positions a query may see."""
    query = torch.arange(length)[:, None]
    key = torch.arange(length)[None, :]
    visible = torch.ones(length, length, dtype=torch.bool)
    if stack.causal:
        visible &= key <= query
    window = model["attention"]["window"]
    if window > 0:
        visible &= (query - key).abs() < window
    visible = visible[None, None]
    if stack.edges is not None:
        visible = visible & ((stack.edges != 0) | (query == key))[:, None]
    return visible & unpadded_keys(length, stack.lengths)


def unpadded_keys(length, lengths):
    """bool [B or 1, 1, 1, S]."""
    key = torch.arange(length)[None, None, None]
    if lengths is None:
        return torch.ones_like(key, dtype=torch.bool)
    return key < lengths[:, None, None, None]


def masked_softmax(scores, visible):
    """Softmax over the visible keys; a row without any is all zeros."""
    scores = scores.masked_fill(~visible, -math.inf)
    largest = scores.amax(-1, keepdim=True).detach()
    largest = largest.masked_fill(largest == -math.inf, 0.0)
    weights = torch.exp(scores - largest)
    total = weights.sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


# --- attention ---------------------------------------------------------------

def heads_of(x, heads):
    """[B,T,heads*D] -> [B,heads,T,D]."""
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


def attention_inputs(model, p, prefix, x):
    """q, k, v of self-attention as the scores receive them."""
    options = model["attention"]
    if options["projections"]:
        q = heads_of(linear(p, prefix + "q", x), model["heads"])
        k = heads_of(linear(p, prefix + "k", x), model["kv_heads"])
        v = heads_of(linear(p, prefix + "v", x), model["kv_heads"])
    else:
        q = k = v = heads_of(x, model["heads"])
    if options["qk_norm"]:
        eps = model["norm"]["eps"]
        q = rmsnorm(q, p[prefix + "q_norm.weight"], eps)
        k = rmsnorm(k, p[prefix + "k_norm.weight"], eps)
    if model["position"]["type"] == "rotary":
        frequency = rotary_frequencies(model["position"], q.shape[3])
        q, k = rotate(q, frequency), rotate(k, frequency)
    return q, k, v


def weighted_values(model, p, prefix, weights, v):
    """The heads side by side [B,T,H*D], through `out` where there is one."""
    options = model["attention"]
    y = (weights @ v).transpose(1, 2).flatten(2)
    if options["projections"] and options["output"]:
        y = linear(p, prefix + "out", y)
    return y


def share_keys(model, k, v):
    """k, v [B,KV,S,D] -> [B,H,S,D], a key head for each query head."""
    heads = model["heads"]
    key_head = torch.arange(heads) * k.shape[1] // heads
    return k[:, key_head], v[:, key_head]


def scaled(model, scores, head_dim):
    if not model["attention"]["scale"]:
        return scores
    return scores / math.sqrt(head_dim)


def self_attention(model, p, prefix, x, stack):
    position = model["position"]["type"]
    q, k, v = attention_inputs(model, p, prefix, x)
    k, v = share_keys(model, k, v)
    if position in ("relative", "relative-learned"):
        scores = relative_scores(model, p, prefix + "relative.", q, k)
    else:
        scores = q @ k.transpose(2, 3)
    scores = scaled(model, scores, q.shape[3])
    if position == "alibi":
        scores = scores + alibi(model["heads"], x.shape[1], x.dtype)
    visible = visible_keys(model, x.shape[1], stack)
    weights = masked_softmax(scores, visible)
    return weighted_values(model, p, prefix, weights, v)


def cross_attention(model, p, prefix, x, stack):
    """Queries of x over the encoder's output, which has no positions."""
    memory = stack.memory
    q = heads_of(linear(p, prefix + "q", x), model["heads"])
    k = heads_of(linear(p, prefix + "k", memory), model["kv_heads"])
    v = heads_of(linear(p, prefix + "v", memory), model["kv_heads"])
    k, v = share_keys(model, k, v)
    scores = scaled(model, q @ k.transpose(2, 3), q.shape[3])
    visible = unpadded_keys(memory.shape[1], stack.memory_lengths)
    weights = masked_softmax(scores, visible)
    return weighted_values(model, p, prefix, weights, v)
