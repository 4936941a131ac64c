"""Norms, products, activations and the feed-forward layer, experts included.

Every formula is spelled out and nothing is fused. `p` is {name: tensor},
`model` the resolved `model` map of a spec, x [B,T,dim].
"""
import math
from fractions import Fraction

import torch


def rmsnorm(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def normalize(model, p, name, x):
    norm = model["norm"]
    if norm["type"] == "none":
        return x
    if norm["type"] == "rmsnorm":
        return rmsnorm(x, p[name + ".weight"], norm["eps"])
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    y = centred / (variance + norm["eps"]).sqrt() * p[name + ".weight"]
    return y + p[name + ".bias"] if norm["bias"] else y


def linear(p, name, x):
    y = x @ p[name + ".weight"].T
    return y + p[name + ".bias"] if name + ".bias" in p else y


def activate(name, x):
    if name == "relu":
        return torch.where(x > 0, x, torch.zeros_like(x))
    if name == "gelu":
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    if name == "gelu-tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)
        return x * 0.5 * (1 + torch.tanh(inner))
    assert name == "silu"
    return x / (1 + torch.exp(-x))


def hidden_units(ff, up, gate):
    """The activation, with the gate's value where there is one."""
    if ff["gated"]:
        return activate(ff["activation"], gate) * up
    return activate(ff["activation"], up)


def feed_forward(model, p, prefix, x, stack):
    if model["experts"]:
        return mixture(model, p, prefix, x, stack)
    ff = model["ff"]
    up = linear(p, prefix + "up", x)
    gate = linear(p, prefix + "gate", x) if ff["gated"] else None
    return linear(p, prefix + "down", hidden_units(ff, up, gate))


# --- experts -----------------------------------------------------------------

def expert(model, p, prefix, index, x):
    """Expert `index` of x [n,dim]."""
    def product(name, x):
        y = x @ p[prefix + name + ".weight"][index].T
        bias = p.get(prefix + name + ".bias")
        return y if bias is None else y + bias[index]

    ff = model["ff"]
    gate = product("gate", x) if ff["gated"] else None
    return product("down", hidden_units(ff, product("up", x), gate))


def chosen_experts(logits, top_k):
    """bool [B,T,E]: the top_k largest, ties to the lower index; and by how
    much the choice was made, the least gap of logits that is not a tie."""
    order = logits.sort(dim=-1, descending=True, stable=True)
    chosen = torch.zeros_like(logits, dtype=torch.bool)
    chosen.scatter_(-1, order.indices[..., :top_k], True)
    if top_k == logits.shape[-1]:
        return chosen, math.inf
    gap = order.values[..., top_k - 1] - order.values[..., top_k]
    return chosen, smallest_gap(gap)


def smallest_gap(gaps):
    """The least of them that is more than a tie's rounding."""
    gaps = gaps[gaps > 1e-12]
    return float(gaps.min()) if gaps.numel() else math.inf


def most_tokens(model, length):
    """Tokens of one sequence that an expert takes; None: all."""
    experts = model["experts"]
    capacity = Fraction(repr(experts["capacity"]))
    if capacity == 0:
        return None
    return math.ceil(capacity * experts["top_k"] * length / experts["count"])


def auxiliary_loss(experts, chosen, probability, unpadded):
    """aux_loss · E · mean over sequences of Σ f p; [B,T,E], [B,T,1]."""
    tokens = unpadded.sum(1).clamp(min=1)               # [B,1]
    choices = chosen.sum(1) / (tokens * experts["top_k"])
    mean = (probability * unpadded).sum(1) / tokens
    together = (choices * mean).sum(-1).mean()
    return experts["aux_loss"] * experts["count"] * together


def mixture(model, p, prefix, x, stack):
    """The kept experts' outputs by their shares; notes the auxiliary loss."""
    experts = model["experts"]
    router = p[prefix + "router.weight"]
    logits = (x[..., None, :] * router).sum(-1)         # equal rows, equal sums
    probability = torch.softmax(logits, dim=-1)
    unpadded = stack.unpadded(x)[..., None]
    chosen, gap = chosen_experts(logits.detach(), experts["top_k"])
    stack.notes.gaps.append(gap)
    chosen = chosen & unpadded
    stack.notes.losses.append(
        auxiliary_loss(experts, chosen, probability, unpadded.to(x.dtype)))
    kept = torch.where(chosen, probability, 0.0)
    total = kept.sum(-1, keepdim=True)
    share = kept / total.masked_fill(total == 0, 1.0)
    most = most_tokens(model, x.shape[1])
    if most is not None:
        chosen = chosen & (chosen.cumsum(1) <= most)
    y = torch.zeros_like(x)
    for index in range(experts["count"]):
        rows = chosen[..., index]
        part = share[..., index][rows][:, None]
        found = expert(model, p, prefix + "experts.", index, x[rows])
        y = y.index_put(rows.nonzero(as_tuple=True), part * found,
                        accumulate=True)
    return y
