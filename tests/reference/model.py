"""A decoder with head lm in plain PyTorch, written to be read, not for speed.

It is the other opinion on what the compiler's programs compute: names and
shapes of the parameters, logits, loss and gradients as the contract states
them, in float64 unless asked otherwise. Nothing is fused and every formula is
spelled out. Read `logits`, then `block`, then `attention`.

    p            {name: tensor}, every parameter of the spec
    tokens       int64 [B,T]
    lengths      int64 [B] or None; positions past it are padding
"""
import math

import torch


# --- parameters --------------------------------------------------------------

def norm_shapes(norm, name, dim):
    if norm["type"] == "none":
        return {}
    shapes = {name + ".weight": (dim,)}
    if norm["type"] == "layernorm" and norm["bias"]:
        shapes[name + ".bias"] = (dim,)
    return shapes


def linear_shapes(name, rows, columns, bias):
    shapes = {name + ".weight": (rows, columns)}
    if bias:
        shapes[name + ".bias"] = (rows,)
    return shapes


def attention_shapes(model, prefix):
    options, dim = model["attention"], model["dim"]
    if not options["projections"]:
        return {}
    query = model["heads"] * model["head_dim"]
    key = model["kv_heads"] * model["head_dim"]
    bias = options["bias"] in (True, "qkv")
    shapes = linear_shapes(prefix + "q", query, dim, bias)
    shapes |= linear_shapes(prefix + "k", key, dim, bias)
    shapes |= linear_shapes(prefix + "v", key, dim, bias)
    if options["output"]:
        out_bias = options["bias"] is True
        shapes |= linear_shapes(prefix + "out", dim, query, out_bias)
    if options["qk_norm"]:
        shapes[prefix + "q_norm.weight"] = (model["head_dim"],)
        shapes[prefix + "k_norm.weight"] = (model["head_dim"],)
    return shapes


def feed_forward_shapes(model, prefix):
    ff, dim = model["ff"], model["dim"]
    shapes = linear_shapes(prefix + "up", ff["dim"], dim, ff["bias"])
    if ff["gated"]:
        shapes |= linear_shapes(prefix + "gate", ff["dim"], dim, ff["bias"])
    return shapes | linear_shapes(prefix + "down", dim, ff["dim"], ff["bias"])


def parameter_shapes(spec):
    """{name: shape} of every parameter."""
    model = spec["model"]
    norm, dim, vocab = model["norm"], model["dim"], model["vocab"]
    shapes = {"embed.token.weight": (vocab, dim)}
    if model["position"]["type"] == "learned":
        shapes["embed.position.weight"] = (model["context"], dim)
    if model["embedding_norm"]:
        shapes |= norm_shapes(norm, "embed.norm", dim)
    for index in range(model["blocks"]):
        prefix = f"blocks.{index}."
        shapes |= norm_shapes(norm, prefix + "norm1", dim)
        shapes |= attention_shapes(model, prefix + "attn.")
        if model["ff"]:
            shapes |= norm_shapes(norm, prefix + "norm2", dim)
            shapes |= feed_forward_shapes(model, prefix + "ff.")
    if norm["place"] == "pre":
        shapes |= norm_shapes(norm, "norm", dim)
    if not model["tie_embeddings"]:
        shapes["head.weight"] = (vocab, dim)
    return shapes


# --- positions ---------------------------------------------------------------

def sinusoids(length, dim, dtype):
    """PE [length,dim]: sine in even columns, cosine in odd ones."""
    column = torch.arange(dim)
    exponent = 2 * (column // 2).double() / dim
    angle = torch.arange(length).double()[:, None] / 10000.0 ** exponent
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


# --- layers ------------------------------------------------------------------

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


def feed_forward(model, p, prefix, x):
    ff = model["ff"]
    up = linear(p, prefix + "up", x)
    if ff["gated"]:
        hidden = activate(ff["activation"], linear(p, prefix + "gate", x)) * up
    else:
        hidden = activate(ff["activation"], up)
    return linear(p, prefix + "down", hidden)


def visible_keys(model, length, lengths):
    """bool [B or 1, 1, T, T]: which key j a query i may see."""
    options = model["attention"]
    query = torch.arange(length)[:, None]
    key = torch.arange(length)[None, :]
    visible = torch.ones(length, length, dtype=torch.bool)
    if options["mask"] == "causal":
        visible &= key <= query
    if options["window"] > 0:
        visible &= (query - key).abs() < options["window"]
    visible = visible[None, None]
    if lengths is None:
        return visible
    return visible & (key[None, None] < lengths[:, None, None, None])


def masked_softmax(scores, visible):
    """Softmax over the visible keys; a row without any is all zeros."""
    scores = scores.masked_fill(~visible, -math.inf)
    largest = scores.amax(-1, keepdim=True).detach()
    largest = largest.masked_fill(largest == -math.inf, 0.0)
    weights = torch.exp(scores - largest)
    total = weights.sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def heads_of(x, heads):
    """[B,T,heads*D] -> [B,heads,T,D]."""
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


def attention_inputs(model, p, prefix, x):
    """q [B,H,T,D] and k, v [B,KV,T,D] as the scores receive them."""
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


def alibi(heads, length, dtype):
    """-slope * |i-j|, [heads,T,T]."""
    head = torch.arange(1, heads + 1).double()
    slope = 2.0 ** (-8 * head / heads)
    position = torch.arange(length).double()
    distance = (position[:, None] - position[None, :]).abs()
    return (-slope[:, None, None] * distance).to(dtype)


def attention(model, p, prefix, x, lengths):
    options, heads = model["attention"], model["heads"]
    batch, length, _ = x.shape
    q, k, v = attention_inputs(model, p, prefix, x)
    key_head = torch.arange(heads) * k.shape[1] // heads
    scores = q @ k[:, key_head].transpose(2, 3)
    if options["scale"]:
        scores = scores / math.sqrt(q.shape[3])
    if model["position"]["type"] == "alibi":
        scores = scores + alibi(heads, length, x.dtype)
    visible = visible_keys(model, length, lengths)
    weights = masked_softmax(scores, visible)
    y = (weights @ v[:, key_head]).transpose(1, 2).reshape(batch, length, -1)
    if options["projections"] and options["output"]:
        y = linear(p, prefix + "out", y)
    return y


def branch(model, p, norm_name, x, function):
    """One half of a block: norm, function, residual in the spec's order."""
    residual = model["attention"]["residual"]
    if model["norm"]["place"] == "pre":
        y = function(normalize(model, p, norm_name, x))
        return x + y if residual else y
    y = function(x)
    y = x + y if residual else y
    return normalize(model, p, norm_name, y)


def block(model, p, prefix, x, lengths):
    x = branch(model, p, prefix + "norm1", x,
               lambda y: attention(model, p, prefix + "attn.", y, lengths))
    if model["ff"]:
        x = branch(model, p, prefix + "norm2", x,
                   lambda y: feed_forward(model, p, prefix + "ff.", y))
    return x


def embed(model, p, tokens):
    x = p["embed.token.weight"][tokens]
    length = tokens.shape[1]
    if model["embedding_scale"]:
        x = x * math.sqrt(model["dim"])
    if model["position"]["type"] == "learned":
        x = x + p["embed.position.weight"][:length]
    if model["position"]["type"] == "sinusoidal":
        x = x + sinusoids(length, model["dim"], x.dtype)
    if model["embedding_norm"]:
        x = normalize(model, p, "embed.norm", x)
    return x


def logits(spec, p, tokens, lengths=None):
    """Logits [B,T,vocab]."""
    model = spec["model"]
    x = embed(model, p, tokens)
    for index in range(model["blocks"]):
        x = block(model, p, f"blocks.{index}.", x, lengths)
    if model["norm"]["place"] == "pre":
        x = normalize(model, p, "norm", x)
    tied = model["tie_embeddings"]
    return x @ p["embed.token.weight" if tied else "head.weight"].T


# --- loss and gradients ------------------------------------------------------

def scored_positions(targets, lengths):
    scored = targets >= 0
    if lengths is not None:
        scored &= torch.arange(targets.shape[1]) < lengths[:, None]
    return scored


def loss_sum(outputs, targets, lengths, smoothing):
    """The summed loss of the scored positions, and their number."""
    scored = scored_positions(targets, lengths)
    log_p = torch.log_softmax(outputs[scored], dim=-1)
    nll = -log_p.gather(1, targets[scored][:, None]).sum()
    spread = -log_p.mean(-1).sum()
    return (1 - smoothing) * nll + smoothing * spread, int(scored.sum())


def trainable_names(spec, names):
    """The names that no glob of `freeze` matches; `*` crosses dots."""
    def frozen(name):
        return any(matches(glob, name) for glob in spec["train"]["freeze"])
    return [name for name in names if not frozen(name)]


def matches(glob, name):
    """Whether `name` is `glob`, whose `*` stands for any characters."""
    first, *rest = glob.split("*")
    if not rest:
        return name == glob
    if not name.startswith(first):
        return False
    name = name[len(first):]
    for part in rest[:-1]:
        found = name.find(part)
        if found < 0:
            return False
        name = name[found + len(part):]
    return name.endswith(rest[-1])


def loss_and_gradients(spec, p, tokens, targets, lengths=None):
    """loss (scalar), logits [B,T,vocab], {name: gradient} of what trains."""
    p = {name: value.detach().clone() for name, value in p.items()}
    names = trainable_names(spec, p)
    for name in names:
        p[name].requires_grad_()
    outputs = logits(spec, p, tokens, lengths)
    smoothing = spec["train"]["label_smoothing"]
    total, count = loss_sum(outputs, targets, lengths, smoothing)
    loss = total / max(count, 1)
    wanted = [p[name] for name in names]
    found = torch.autograd.grad(loss, wanted, materialize_grads=True)
    return loss.detach(), outputs.detach(), dict(zip(names, found))
