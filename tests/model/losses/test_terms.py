import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.model.losses.terms import class_probabilities


def some(seed: int, classes: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(0, 3, (2, classes, 4, 3, 2)), dtype=torch.float32)


@given(st.integers(0, 999), st.integers(1, 5))
def test_exclusive_probabilities_are_a_softmax_that_leaves_the_rest_to_the_background(
    seed: int, classes: int
) -> None:
    logits = some(seed, classes)
    whole = torch.softmax(torch.cat([torch.zeros(2, 1, 4, 3, 2), logits], dim=1), dim=1)

    assert torch.allclose(class_probabilities(logits, exclusive=True), whole[:, 1:], atol=1e-6)


def test_overlapping_classes_are_judged_each_by_itself() -> None:
    logits = some(0, 3)

    assert torch.equal(class_probabilities(logits, exclusive=False), torch.sigmoid(logits))
