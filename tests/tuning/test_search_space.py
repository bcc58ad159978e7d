from hypothesis import given
from hypothesis import strategies as st

from tests import step_inputs as evidence
from volseg.config.config import validate_values
from volseg.postprocessing import DropSmall, FillHoles, Hysteresis, KeepLargest, Step, Threshold, apply_steps
from volseg.postprocessing.thresholding import ThresholdingStep
from volseg.schema import union_members
from volseg.tuning.search_space import SEARCH_DIMENSIONS, START, class_pipeline, format_step, merge_pipelines

BY_NAME = {slot.name: slot for slot in SEARCH_DIMENSIONS}
EVERY = [step for slot in SEARCH_DIMENSIONS for step in slot.settings]
NAMES = ("bowel", "stomach")
pipelines = st.tuples(
    st.sampled_from(BY_NAME[START].settings),
    st.lists(st.sampled_from([one for one in EVERY if not isinstance(one, ThresholdingStep)]), max_size=4),
).map(lambda parts: (parts[0], *parts[1]))


def test_every_kind_of_step_has_one_place_and_those_that_start_share_the_first() -> None:
    kinds = [type(step) for slot in SEARCH_DIMENSIONS for step in slot.settings]
    assert set(kinds) == set(union_members(Step).values())
    for slot in SEARCH_DIMENSIONS:
        starting = {isinstance(step, ThresholdingStep) for step in slot.settings}
        assert starting == {slot is SEARCH_DIMENSIONS[0]}
        assert len(set(slot.settings)) == len(slot.settings)


def test_only_settings_that_a_step_allows_are_tried() -> None:
    pairs = [(o.low, o.high) for o in SEARCH_DIMENSIONS[0].settings if isinstance(o, Hysteresis)]
    assert pairs
    assert all(low < high for low, high in pairs)


@given(pipelines, st.sampled_from(SEARCH_DIMENSIONS), st.data())
def test_a_place_is_filled_and_no_other_changes(pipeline, slot, data) -> None:
    step = data.draw(st.sampled_from(slot.settings))
    filled = slot.with_step(pipeline, step)

    assert slot.step_in(filled) == step
    assert [(o.name, o.step_in(filled)) for o in SEARCH_DIMENSIONS if o != slot] == [
        (o.name, o.step_in(pipeline)) for o in SEARCH_DIMENSIONS if o != slot
    ]
    assert isinstance(filled[0], ThresholdingStep)
    if slot.name != START:
        emptied = slot.with_step(filled, None)
        assert slot.step_in(emptied) is None
        assert emptied == tuple(one for one in pipeline if one.name != step.name)


def test_a_step_takes_the_old_ones_place_and_a_new_one_its_own() -> None:
    start, largest, small, fill = Threshold(), KeepLargest(), DropSmall(min_mm3=9), FillHoles()
    odd = (start, fill, largest)  # not the order in which they are tried

    assert BY_NAME["keep_largest"].with_step(odd, KeepLargest(k=2)) == (start, fill, KeepLargest(k=2))
    assert BY_NAME["drop_small"].with_step(odd, small) == (start, small, fill, largest)
    assert BY_NAME["drop_small"].with_step((start, largest, fill), small) == (start, small, largest, fill)


@given(pipelines, st.sampled_from(SEARCH_DIMENSIONS))
def test_what_is_there_is_the_first_choice_and_none_is_one_but_for_the_start(pipeline, slot) -> None:
    choices = slot.choices(pipeline)

    assert choices[0] == pipeline
    assert len(set(choices)) == len(choices)
    without = [one for one in choices if slot.step_in(one) is None]
    assert len(without) == (0 if slot.name == START else 1)


@given(
    st.lists(st.tuples(st.sampled_from(EVERY), st.sampled_from([(), *[(n,) for n in NAMES]]))),
    evidence.probabilities,
)
def test_a_classes_own_steps_clean_as_those_of_all_do(steps, probability) -> None:
    listed = [step.model_copy(update={"only": only}) for step, only in steps]
    known = evidence.evidence_of(probability)
    for name in NAMES:
        own = class_pipeline(listed, name)

        assert not any(step.only for step in own)
        assert [isinstance(step, ThresholdingStep) for step in own].count(True) == 1
        assert (apply_steps(known, own, name) == apply_steps(known, listed, name)).all()


@given(pipelines, pipelines)
def test_steps_together_are_each_classes_own_again(one, other) -> None:
    listed = merge_pipelines({"bowel": one, "stomach": other})

    assert class_pipeline(listed, "bowel") == one
    assert class_pipeline(listed, "stomach") == other
    assert listed == one if one == other else all(step.only for step in listed)
    config = {"postprocess": [step.model_dump() for step in listed]}
    assert validate_values(config, "a file").postprocess == listed


def test_a_step_in_one_line() -> None:
    assert format_step(DropSmall(min_mm3=500)) == "drop_small min_mm3=500"
    assert format_step(FillHoles()) == "fill_holes"
    assert format_step(None) == "none"
