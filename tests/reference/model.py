"""Every model of the contract in plain PyTorch, written to be read.

It is the other opinion on what the compiler's programs compute, in float64
unless asked otherwise. Read `forward`, then `stack`, `block`, `head`; layers.py
and attention.py have what a block calls, parameters.py every parameter's shape.

    p            {name: tensor}, every parameter of the spec
    batch        {name: tensor} as a `grad` batch file has it, ids int64:
                 tokens, source, types [B,T], images [B,C,H,W], nodes [B,N,F],
                 edges [B,N,N], lengths, source_lengths [B]; a preference's
                 pairs are 2B sequences here
"""
import dataclasses
import math

import torch

from attention import cross_attention, self_attention, sinusoids
from layers import activate, feed_forward, linear, normalize, smallest_gap


@dataclasses.dataclass
class Notes:
    """What a forward finds beside its outputs."""
    losses: list = dataclasses.field(default_factory=list)  # of experts
    gaps: list = dataclasses.field(default_factory=list)    # of its decisions


@dataclasses.dataclass
class Stack:
    """What all blocks of a stack share."""
    notes: Notes
    causal: bool
    lengths: torch.Tensor | None
    edges: torch.Tensor | None = None
    memory: torch.Tensor | None = None          # the encoder's output
    memory_lengths: torch.Tensor | None = None

    def unpadded(self, x):
        """bool [B,T] of x [B,T,…]: positions below the lengths."""
        position = torch.arange(x.shape[1]).expand(x.shape[:2])
        if self.lengths is None:
            return torch.ones_like(position, dtype=torch.bool)
        return position < self.lengths[:, None]


@dataclasses.dataclass
class Outputs:
    logits: torch.Tensor                        # [B,T,vocab] or [B,classes]
    next_sentence: torch.Tensor | None          # [B,2]
    auxiliary: torch.Tensor | None              # of experts
    gap: float                                  # the narrowest decision


# --- embeddings --------------------------------------------------------------

def patches(given, images):
    """[B,C,size,size] -> [B,(size/patch)²,C·patch·patch], row by row."""
    patch = given["patch"]
    grid = images.unflatten(2, (-1, patch)).unflatten(4, (-1, patch))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def input_vectors(model, p, batch, tokens_name):
    """[B,T,dim] before positions."""
    given = model["input"]
    if given["type"] == "graph":
        return linear(p, "embed.node", batch["nodes"])
    if given["type"] == "image":
        x = linear(p, "embed.patch", patches(given, batch["images"]))
        if "embed.class.weight" in p:
            first = p["embed.class.weight"].expand(x.shape[0], 1, -1)
            x = torch.cat([first, x], dim=1)
        return x
    tokens = batch[tokens_name]
    x = p["embed.token.weight"][tokens]
    if model["embedding_scale"]:
        x = x * math.sqrt(model["dim"])
    if model["token_types"]:
        types = batch.get("types", torch.zeros_like(tokens))
        x = x + p["embed.type.weight"][types]
    return x


def embed(model, p, prefix, x):
    """Positions and the embeddings' norm; prefix is a stack's."""
    length = x.shape[1]
    if model["position"]["type"] == "learned":
        x = x + p[prefix + "embed.position.weight"][:length]
    if model["position"]["type"] == "sinusoidal":
        x = x + sinusoids(torch.arange(length), model["dim"], x.dtype)
    if model["embedding_norm"]:
        x = normalize(model, p, prefix + "embed.norm", x)
    return x


# --- blocks ------------------------------------------------------------------

def branch(model, p, norm_name, x, function):
    """A norm, a function and the residual in the spec's order."""
    residual = model["attention"]["residual"]
    if model["norm"]["place"] == "pre":
        y = function(normalize(model, p, norm_name, x))
        return x + y if residual else y
    y = function(x)
    y = x + y if residual else y
    return normalize(model, p, norm_name, y)


def block(model, p, prefix, x, stack):
    def part(norm_name, function, name, x):
        return branch(model, p, prefix + norm_name, x,
                      lambda y: function(model, p, prefix + name, y, stack))

    x = part("norm1", self_attention, "attn.", x)
    if stack.memory is not None:
        x = part("cross_norm", cross_attention, "cross.", x)
    if model["ff"]:
        x = part("norm2", feed_forward, "ff.", x)
    return x


def run_stack(model, p, prefix, x, stack):
    """The blocks and the final norm."""
    x = embed(model, p, prefix, x)
    for index in range(model["blocks"][prefix]):
        x = block(model, p, f"{prefix}blocks.{index}.", x, stack)
    if model["norm"]["place"] == "pre":
        x = normalize(model, p, prefix + "norm", x)
    return x


# --- heads -------------------------------------------------------------------

def pool(kind, x, stack):
    """[B,T,dim] -> [B,dim] over unpadded positions; zeros where there are none.

    A class token of images is position 0, so `cls` is `first`."""
    unpadded = stack.unpadded(x)[..., None]
    count = unpadded.sum(1)                             # [B,1]
    if kind in ("mean", "sum"):
        total = torch.where(unpadded, x, 0.0).sum(1)
        return total / count.clamp(min=1) if kind == "mean" else total
    if kind == "max":
        candidates = x.masked_fill(~unpadded, -math.inf)
        y, _ = candidates.max(1)
        if x.shape[1] > 1:
            two = candidates.detach().topk(2, dim=1).values
            stack.notes.gaps.append(smallest_gap(two[:, 0] - two[:, 1]))
    else:
        last = (count[:, 0] - 1).clamp(min=0)
        index = last if kind == "last" else torch.zeros_like(last)
        y = x[torch.arange(x.shape[0]), index]
    return torch.where(count > 0, y, 0.0)


def vocabulary_logits(model, p, x):
    """[B,T,vocab] of head lm or mlm."""
    name = "head.weight"
    if model["head"]["type"] == "mlm":
        x = activate("gelu", linear(p, "head.transform", x))
        x = normalize(model, p, "head.norm", x)
        name = "head.decoder.weight"
    tied = model["tie_embeddings"]
    logits = x @ p["embed.token.weight" if tied else name].T
    if model["head"]["type"] == "mlm":
        logits = logits + p["head.decoder.bias"]
    return logits


def pooled_vectors(p, kind, x, stack):
    pooled = pool(kind, x, stack)
    if "head.pooler.weight" in p:
        pooled = torch.tanh(linear(p, "head.pooler", pooled))
    return pooled


def head(model, p, x, stack):
    """Logits, and next_sentence's where there are such."""
    options = model["head"]
    if options["type"] == "classify":
        pooled = pooled_vectors(p, options["pool"], x, stack)
        return linear(p, "head", pooled), None
    logits = vocabulary_logits(model, p, x)
    if "head.next_sentence.weight" not in p:
        return logits, None
    pooled = pooled_vectors(p, "first", x, stack)
    return logits, linear(p, "head.next_sentence", pooled)


# --- the model ---------------------------------------------------------------

def forward(spec, p, batch):
    """The Outputs of a batch."""
    model, notes = spec["model"], Notes()
    causal = model["attention"]["mask"] == "causal"
    stack = Stack(notes, causal, batch.get("lengths"), batch.get("edges"))
    prefix = ""
    if model["kind"] == "encoder-decoder":
        prefix = "decoder."
        encoder = Stack(notes, False, batch.get("source_lengths"))
        x = input_vectors(model, p, batch, "source")
        stack.memory = run_stack(model, p, "encoder.", x, encoder)
        stack.memory_lengths = encoder.lengths
    x = input_vectors(model, p, batch, "tokens")
    x = run_stack(model, p, prefix, x, stack)
    logits, next_sentence = head(model, p, x, stack)
    auxiliary = None
    if model["experts"]:
        auxiliary = sum(notes.losses, torch.zeros((), dtype=logits.dtype))
    return Outputs(logits, next_sentence, auxiliary,
                   min(notes.gaps, default=math.inf))
