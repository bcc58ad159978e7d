import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.model.optimizers import AdamW, OptimizerChoice
from volseg.schema import union_members

DECAYS = ["cosine", "polynomial"]


@pytest.mark.parametrize("decay", DECAYS)
@given(st.floats(0.01, 0.5), st.floats(0, 1), st.floats(0, 1))
def test_the_rate_rises_to_lr_and_then_only_falls(decay, warmup, one, other) -> None:
    settings = AdamW(lr=0.01, warmup=warmup, decay=decay)
    early, late = sorted((one, other))

    assert 0 < settings.rate(early) <= 0.01
    if early >= warmup:
        assert settings.rate(late) <= settings.rate(early)
    if late < warmup:
        assert settings.rate(early) <= settings.rate(late)


@pytest.mark.parametrize("decay", DECAYS)
def test_the_rate_peaks_at_the_end_of_the_warm_up_and_ends_near_zero(decay) -> None:
    settings = AdamW(lr=0.01, warmup=0.1, decay=decay)

    assert settings.rate(0.1) == pytest.approx(0.01)
    assert settings.rate(0.05) == pytest.approx(0.005)
    assert settings.rate(1.0) == pytest.approx(1e-5)


def test_half_way_down_the_cosine_is_half_the_rate() -> None:
    assert AdamW(lr=0.01, warmup=0).rate(0.5) == pytest.approx(0.005)


@pytest.mark.parametrize("choice", union_members(OptimizerChoice).values())
def test_an_optimizer_changes_nothing_where_it_is_told_that_the_gradient_is_infinite(choice) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = choice().build([weight])
    found = []
    for infinite, gradient in ((0.0, 1.0), (1.0, torch.inf), (0.0, 1.0)):
        weight.grad = torch.full((3,), gradient)
        optimizer.found_inf = torch.tensor(infinite)
        optimizer.step()
        state = optimizer.state_dict()["state"][0].values()
        found.append(torch.cat([value.detach().reshape(-1).clone() for value in (weight, *state)]))

    assert torch.equal(found[0], found[1])
    assert torch.isfinite(found[2]).all()
    assert not torch.equal(found[2], found[1])
