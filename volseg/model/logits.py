"""What the logits of K classes say, where classes may overlap and where they exclude each other.

Overlapping classes are judged each by itself, by a sigmoid. Exclusive ones share a softmax with the
background, whose logit is always 0: this equals K + 1 outputs without the one that is redundant, so
a network has K outputs in both cases.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus


def probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """Logits (B, K, X, Y, Z) as the probability of each class, of the same shape."""
    return torch.exp(logits - log_total(logits)) if exclusive else torch.sigmoid(logits)


def log_total(logits: Tensor) -> Tensor:
    """The logarithm of the softmax's denominator, background included: (B, 1, X, Y, Z)."""
    return softplus(torch.logsumexp(logits, dim=1, keepdim=True))
