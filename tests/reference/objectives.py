"""Losses of every objective, and their gradients.

A loss is a sum of means, each of which `terms` gives as (sum, count), so that
evaluation can add up batches; experts' auxiliary loss comes on top.
"""
import torch

from model import forward
from parameters import trainable_names


def scored_positions(targets, lengths):
    scored = targets >= 0
    if lengths is not None:
        scored &= torch.arange(targets.shape[1]) < lengths[:, None]
    return scored


def cross_entropy(logits, targets, smoothing):
    """The summed loss of logits [n,C] for targets [n], and n."""
    log_p = torch.log_softmax(logits, dim=-1)
    nll = -log_p.gather(1, targets[:, None]).sum()
    spread = -log_p.mean(-1).sum()
    return (1 - smoothing) * nll + smoothing * spread, len(targets)


def sequence_log_probability(logits, targets, lengths):
    """[n], summed over the scored positions of [n,T]; and their numbers."""
    scored = scored_positions(targets, lengths)
    log_p = torch.log_softmax(logits, dim=-1)
    found = log_p.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return torch.where(scored, found, 0.0).sum(1), scored.sum(1)


def as_sequences(batch):
    """Pairs [B,2,…] as 2B sequences."""
    return {name: value.flatten(0, 1) for name, value in batch.items()}


def preference_term(spec, outputs, batch):
    beta = spec["train"]["preference"]["beta"]
    s, scored = sequence_log_probability(outputs.logits, batch["targets"],
                                         batch.get("lengths"))
    gain = (s - batch["reference"]).unflatten(0, (-1, 2))
    counts = scored.unflatten(0, (-1, 2)).sum(1) > 0
    z = beta * (gain[:, 0] - gain[:, 1])
    pairs = torch.logaddexp(torch.zeros_like(z), -z)    # -log σ(z)
    return torch.where(counts, pairs, 0.0).sum(), int(counts.sum())


def label_term(logits, labels, smoothing):
    scored = labels >= 0
    return cross_entropy(logits[scored], labels[scored], smoothing)


def terms(spec, outputs, batch, smoothing):
    """[(sum, count)] of every mean in the loss."""
    objective = spec["train"]["objective"]
    if objective == "preference":
        return [preference_term(spec, outputs, batch)]
    if objective == "classify":
        return [label_term(outputs.logits, batch["labels"], smoothing)]
    scored = scored_positions(batch["targets"], batch.get("lengths"))
    found = [cross_entropy(outputs.logits[scored], batch["targets"][scored],
                           smoothing)]
    if objective == "masked-token+next-sentence":
        found.append(label_term(outputs.next_sentence, batch["labels"], 0.0))
    return found


def evaluate(spec, p, batch):
    """Outputs, and the loss's terms without smoothing or experts' share."""
    if spec["train"]["objective"] == "preference":
        batch = as_sequences(batch)
    with torch.no_grad():
        outputs = forward(spec, p, batch)
        return outputs, terms(spec, outputs, batch, 0.0)


def reference_sums(spec, p, batch):
    """[B,2]: the log-probabilities that a frozen reference p gives pairs."""
    batch = as_sequences(batch)
    with torch.no_grad():
        outputs = forward(spec, p, batch)
        sums, _ = sequence_log_probability(outputs.logits, batch["targets"],
                                           batch.get("lengths"))
    return sums.unflatten(0, (-1, 2))


def loss_and_gradients(spec, p, batch):
    """loss, Outputs with the batch's shape, {name: gradient} of what trains."""
    p = {name: value.detach().clone() for name, value in p.items()}
    names = trainable_names(spec, p)
    for name in names:
        p[name].requires_grad_()
    pairs = spec["train"]["objective"] == "preference"
    if pairs:
        batch = as_sequences(batch)
    outputs = forward(spec, p, batch)
    smoothing = spec["train"]["label_smoothing"]
    loss = sum(total / max(count, 1)
               for total, count in terms(spec, outputs, batch, smoothing))
    if outputs.auxiliary is not None:
        loss = loss + outputs.auxiliary
    wanted = [p[name] for name in names]
    found = [torch.zeros_like(value) for value in wanted]
    if loss.requires_grad and wanted:
        found = torch.autograd.grad(loss, wanted, materialize_grads=True)
    if pairs:
        outputs.logits = outputs.logits.unflatten(0, (-1, 2))
    return loss.detach(), outputs, dict(zip(names, found))
