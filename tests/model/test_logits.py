import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.model.logits import evidence, probabilities


def some(seed: int, classes: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(0, 3, (2, classes, 4, 3, 2)), dtype=torch.float32)


@given(st.integers(0, 999), st.integers(1, 5))
def test_exclusive_probabilities_are_a_softmax_that_leaves_the_rest_to_the_background(
    seed: int, classes: int
) -> None:
    logits = some(seed, classes)
    whole = torch.softmax(torch.cat([torch.zeros(2, 1, 4, 3, 2), logits], dim=1), dim=1)

    assert torch.allclose(probabilities(logits, exclusive=True), whole[:, 1:], atol=1e-6)


def test_overlapping_classes_are_judged_each_by_itself() -> None:
    logits = some(0, 3)

    assert torch.equal(probabilities(logits, exclusive=False), torch.sigmoid(logits))
    for own, found in zip(logits[0], evidence(logits[0], exclusive=False), strict=True):
        assert torch.equal(found, torch.sigmoid(own))


@given(st.integers(0, 999), st.integers(1, 5))
def test_evidence_is_each_class_against_its_strongest_rival(seed: int, classes: int) -> None:
    logits = some(seed, classes)[0]
    found = torch.stack([*evidence(logits, exclusive=True)])

    for k in range(classes):
        rivals = [torch.zeros(4, 3, 2), *(logits[j] for j in range(classes) if j != k)]
        strongest = torch.stack(rivals).amax(dim=0)
        assert torch.allclose(found[k], torch.sigmoid(logits[k] - strongest), atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([2.0, 2.0], [0.5, 0.5]),  # both are as likely, and likelier than the background
        ([0.0, -9.0], [0.5, 0.00012]),  # as likely as the background
        ([0.3, 0.3, 0.5], [0.450, 0.450, 0.550]),  # the likeliest, whose softmax is only .29
    ],
)
def test_evidence_worked_out_by_hand(logits: list[float], expected: list[float]) -> None:
    found = evidence(torch.tensor(logits).reshape(-1, 1, 1, 1), exclusive=True)

    assert [one.item() for one in found] == pytest.approx(expected, abs=1e-3)
