from hypothesis import given
from hypothesis import strategies as st

from tests import step_inputs as evidence
from volseg.config.config import check
from volseg.postprocessing import (
    DropSmall,
    FillHoles,
    Hysteresis,
    KeepLargest,
    Step,
    Threshold,
    clean,
)
from volseg.postprocessing.thresholding import Starting
from volseg.schema import members
from volseg.tuning.search_space import SLOTS, START, pipeline_of, text, together

BY_NAME = {slot.name: slot for slot in SLOTS}
EVERY = [step for slot in SLOTS for step in slot.settings]
NAMES = ("bowel", "stomach")
pipelines = st.tuples(
    st.sampled_from(BY_NAME[START].settings),
    st.lists(st.sampled_from([one for one in EVERY if not isinstance(one, Starting)]), max_size=4),
).map(lambda parts: (parts[0], *parts[1]))


def test_every_kind_of_step_has_one_place_and_those_that_start_share_the_first() -> None:
    kinds = [type(step) for slot in SLOTS for step in slot.settings]
    assert set(kinds) == set(members(Step).values())
    for slot in SLOTS:
        starting = {isinstance(step, Starting) for step in slot.settings}
        assert starting == {slot is SLOTS[0]}
        assert len(set(slot.settings)) == len(slot.settings)


def test_only_settings_that_a_step_allows_are_tried() -> None:
    pairs = [(o.low, o.high) for o in SLOTS[0].settings if isinstance(o, Hysteresis)]
    assert pairs
    assert all(low < high for low, high in pairs)


@given(pipelines, st.sampled_from(SLOTS), st.data())
def test_a_place_is_filled_and_no_other_changes(pipeline, slot, data) -> None:
    step = data.draw(st.sampled_from(slot.settings))
    filled = slot.filled(pipeline, step)

    assert slot.of(filled) == step
    assert [(o.name, o.of(filled)) for o in SLOTS if o != slot] == [
        (o.name, o.of(pipeline)) for o in SLOTS if o != slot
    ]
    assert isinstance(filled[0], Starting)
    if slot.name != START:
        emptied = slot.filled(filled, None)
        assert slot.of(emptied) is None
        assert emptied == tuple(one for one in pipeline if one.name != step.name)


def test_a_step_takes_the_old_ones_place_and_a_new_one_its_own() -> None:
    start, largest, small, fill = Threshold(), KeepLargest(), DropSmall(min_mm3=9), FillHoles()
    odd = (start, fill, largest)  # not the order in which they are tried

    assert BY_NAME["keep_largest"].filled(odd, KeepLargest(k=2)) == (
        start,
        fill,
        KeepLargest(k=2),
    )
    assert BY_NAME["drop_small"].filled(odd, small) == (start, small, fill, largest)
    assert BY_NAME["drop_small"].filled((start, largest, fill), small) == (
        start,
        small,
        largest,
        fill,
    )


@given(pipelines, st.sampled_from(SLOTS))
def test_what_is_there_is_the_first_choice_and_none_is_one_but_for_the_start(
    pipeline, slot
) -> None:
    choices = slot.choices(pipeline)

    assert choices[0] == pipeline
    assert len(set(choices)) == len(choices)
    without = [one for one in choices if slot.of(one) is None]
    assert len(without) == (0 if slot.name == START else 1)


@given(
    st.lists(st.tuples(st.sampled_from(EVERY), st.sampled_from([(), *[(n,) for n in NAMES]]))),
    evidence.probabilities,
)
def test_a_classes_own_steps_clean_as_those_of_all_do(steps, probability) -> None:
    listed = [step.model_copy(update={"only": only}) for step, only in steps]
    known = evidence.evidence_of(probability)
    for name in NAMES:
        own = pipeline_of(listed, name)

        assert not any(step.only for step in own)
        assert [isinstance(step, Starting) for step in own].count(True) == 1
        assert (clean(known, own, name) == clean(known, listed, name)).all()


@given(pipelines, pipelines)
def test_steps_together_are_each_classes_own_again(one, other) -> None:
    listed = together({"bowel": one, "stomach": other})

    assert pipeline_of(listed, "bowel") == one
    assert pipeline_of(listed, "stomach") == other
    assert listed == one if one == other else all(step.only for step in listed)
    config = {"postprocess": [step.model_dump() for step in listed]}
    assert check(config, "a file").postprocess == listed


def test_a_step_in_one_line() -> None:
    assert text(DropSmall(min_mm3=500)) == "drop_small min_mm3=500"
    assert text(FillHoles()) == "fill_holes"
    assert text(None) == "none"
