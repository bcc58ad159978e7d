"""What the logits of K classes say, where classes may overlap and where they exclude each other.

Overlapping classes are judged each by itself, by a sigmoid. Exclusive ones share a softmax with the
background, whose logit is always 0: this equals K + 1 outputs without the one that is redundant, so
a network has K outputs in both cases.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus


def probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """Logits (B, K, X, Y, Z) as the probability of each class, of the same shape."""
    return torch.exp(logits - log_total(logits)) if exclusive else torch.sigmoid(logits)


def log_total(logits: Tensor) -> Tensor:
    """The logarithm of the softmax's denominator, background included: (B, 1, X, Y, Z)."""
    return softplus(torch.logsumexp(logits, dim=1, keepdim=True))


def evidence(logits: Tensor, *, exclusive: bool) -> Iterator[Tensor]:
    """Logits (K, X, Y, Z) as what speaks for each class in turn, (X, Y, Z) in 0..1.

    At least one half says that a class is there. For exclusive classes it is the sigmoid of the
    class's logit less that of its strongest rival, so one half is where it becomes the likeliest; a
    softmax has no such place, since the likeliest of many may stay below one half.
    """
    if not exclusive:
        yield from map(torch.sigmoid, logits)
        return
    best, second = _two_largest(logits)
    for own in logits:
        yield torch.sigmoid(own - torch.where(own < best, best, second))


def _two_largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest and second largest of the background's 0 and the logits (K, X, Y, Z)."""
    best = torch.zeros_like(logits[0])
    second = torch.full_like(best, -torch.inf)
    for own in logits:
        second = torch.maximum(second, torch.minimum(best, own))
        best = torch.maximum(best, own)
    return best, second
