"""The viewer in a real browser: what moves, what can be switched off, and how it fits a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import browser, predicted, tiny
from tests.browser import Browser
from volseg.report.report import report
from volseg.system import hardware

SLICE = 'viewer.querySelector("[data-part=slice]")'
TOLD = 'viewer.querySelector("[data-part=told]").textContent'
RANGE = 'viewer.querySelector("[data-part=range]").textContent'
NAME = 'viewer.querySelector("[data-part=name]").textContent'
CANVAS = 'viewer.querySelector("canvas")'
READ = """((canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
})"""
"""The pixels of a canvas, read from a copy: the page never reads its own, and Chromium warns of who does."""
GREY = f"{READ}({CANVAS})"
DRAWN = f"{GREY}.some((value, i) => i % 4 < 3 && value > 0)"

PLACES = "viewer.querySelectorAll('[data-part=places] button')"
ORGAN = {"dice": 0.6, "calibrated": True, "volume_ml": 1.0, "slices": [[8, 10]]}
CONFIDENCE = {"large_bowel": ORGAN, "stomach": {**ORGAN, "slices": [[2, 2]]}}
CHECK = [[4, 6], [10, 10]]
"""By the slices' numbers, which are 1 to 10."""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Two scans whose truth was shifted by three columns, and one without truth.

    All but case1_day1 have their confidence told.
    """
    folder = tmp_path_factory.mktemp("viewer")
    dataset = tiny.write(folder / "data", cases=1, days=3)
    for sample in dataset.samples:
        masks = np.roll(dataset.labels(sample), 3, axis=1)
        told = {"confidence": CONFIDENCE, "check": CHECK} if sample.day != 1 else {}
        predicted.write(folder / "predictions", dataset, sample.name, masks=masks, **told)
    shutil.rmtree(folder / "data" / "labels" / "case1_day2")
    bare = [s.model_copy(update={"labels": None} if s.day == 2 else {}) for s in dataset.samples]
    type(dataset)(dataset.folder, dataset.facts.model_copy(update={"samples": tuple(bare)})).save()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hardware, "available_cores", lambda: 1)
        return report(str(folder / "predictions"), data=dataset.folder, out=folder / "page.html").path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = browser.program()
    if path is None:
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    opened = Browser(path)
    yield opened
    opened.close()


def shown(chromium: Browser) -> list[str]:
    """The kinds and colours of the outlines that can be seen."""
    return chromium.js(
        "[...viewer.querySelectorAll('[data-part=paths] path')].filter(one => one.getAttribute('d') "
        "&& one.checkVisibility()).map(one => one.getAttribute('class'))"
    )


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_the_screen_says_nothing_and_loads_nothing(chromium, page, width, dark) -> None:
    chromium.open(page, width=width, dark=dark)
    chromium.until(DRAWN)

    assert chromium.js("document.documentElement.scrollWidth") == width
    wider = (
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('svg') && "
        "!one.closest('.scrolled') && one.getBoundingClientRect().right > innerWidth + .5).length"
    )
    assert chromium.js(wider) == 0
    assert chromium.said == []
    assert chromium.requests == [page.as_uri()]


@pytest.mark.parametrize("width", [599, 390])
def test_intervals_fit_a_phone(chromium, page, width) -> None:
    """As eight cases or more have them; these figures have six digits."""
    chromium.open(page, width=width)
    chromium.js("""[...document.querySelectorAll('.pairs td')].forEach(one =>
        one.firstChild.innerHTML = '-7987.3<small>-7526.0 to -8461.0</small>')""")

    wider = "[...document.querySelectorAll('.scrolled')].map(one => one.scrollWidth - one.clientWidth)"
    found = chromium.js(wider)
    assert found
    assert max(found) <= 0


def test_arrow_keys_move_the_slice_and_with_it_the_picture(chromium, page) -> None:
    chromium.open(page)
    chromium.until(DRAWN)
    before = chromium.js(f"[{SLICE}.value, {TOLD}, [...{GREY}].join()]")
    chromium.js(f"{SLICE}.focus()")

    chromium.press("ArrowRight")

    chromium.until(f"[...{GREY}].join() !== {before[2]!r}")
    after = chromium.js(f"[{SLICE}.value, {TOLD}, {SLICE}.getAttribute('aria-valuetext')]")
    assert int(after[0]) == int(before[0]) + 1
    assert int(after[1].split()[1].strip(",")) == int(before[1].split()[1].strip(",")) + 1
    assert after[2] == after[1]


def test_past_the_last_label_it_says_so(chromium, page) -> None:
    chromium.open(page)
    chromium.js(f"{SLICE}.focus()")

    chromium.press("Home")

    assert chromium.js(TOLD) == "Slice 1, beyond the labels"


def test_the_scale_bar_lies_within_a_small_picture_and_its_length_is_told(chromium, page) -> None:
    """The picture of `tiny` is 30 mm wide, less than the usual bar."""
    chromium.open(page)
    chromium.until(DRAWN)
    bar, picture = "viewer.querySelector('.bar')", "viewer.querySelector('[data-part=lines]')"
    width, whole = chromium.js(f"[{bar}.getBBox().width, {picture}.viewBox.baseVal.width]")

    assert 0 < width <= whole / 3
    assert chromium.js("viewer.querySelector('[data-part=bar]').textContent") == f"{width / 10:g} cm"


LEVEL = """((organ) => {
  const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2];
  const canvas = viewer.querySelector("canvas");
  const [all, path] = [canvas, viewer.querySelector(`.truth[data-organ="${organ}"]`)].map(
    (one) => one.getBoundingClientRect());
  const scale = Math.min(all.width / canvas.width, all.height / canvas.height);
  const [[x, y], [left, top]] = [middle(path), middle(all)];
  const [column, row] = [canvas.width / 2 + (x - left) / scale, canvas.height / 2 + (y - top) / scale];
  return READ(canvas)[4 * (Math.floor(row) * canvas.width + Math.floor(column))];
})""".replace("READ", READ)
"""How bright the picture is in the middle of a class's outline."""


def test_outlines_lie_on_what_they_outline(chromium, page) -> None:
    """The large bowel of `tiny` is bright, the stomach dark, on grey."""
    chromium.open(page)
    chromium.until(DRAWN)

    assert chromium.js(f"{LEVEL}(0)") > 200
    assert chromium.js(f"{LEVEL}(1)") < 60


def test_a_click_on_the_profile_moves_the_slice_there(chromium, page) -> None:
    chromium.open(page)
    box = "viewer.querySelector('[data-part=profile]').getBoundingClientRect()"
    x, y = chromium.js(f"(scrollTo(0, {box}.top - 99), [{box}.right - 1, {box}.top + 9])")

    for kind in ("mousePressed", "mouseReleased"):
        chromium.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    assert chromium.js(f"{SLICE}.value === {SLICE}.max")


def test_arrow_keys_choose_another_scan(chromium, page) -> None:
    chromium.open(page)
    chromium.until(DRAWN)
    first = chromium.js(NAME)
    chromium.js("document.querySelector('input[name=scan]:checked').focus()")

    chromium.press("ArrowDown")

    assert chromium.js(NAME) != first
    assert chromium.js("document.querySelector('input[name=scan]:checked').value") == chromium.js(NAME)


def test_a_scan_without_truth_shows_its_prediction_alone(chromium, page) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan][value=case1_day2]').click()")

    assert {kind.split()[0] for kind in shown(chromium)} == {"prediction"}
    assert chromium.js("viewer.querySelector('input[data-side=truth]').disabled")
    assert chromium.js(TOLD).startswith("Slice")


@pytest.mark.parametrize(
    ("box", "gone"),
    [
        ("data-side=truth", lambda kind: kind.startswith("truth")),
        ("data-side=prediction", lambda kind: kind.startswith("prediction")),
        ("data-side=difference", lambda kind: kind.startswith("difference")),
        ("data-toggles='1'", lambda kind: kind.endswith("c1")),
    ],
)
def test_the_space_bar_switches_outlines_off_and_on(chromium, page, box, gone) -> None:
    chromium.open(page)
    everything = shown(chromium)
    assert len(everything) == 2 * 5
    chromium.js(f'viewer.querySelector("[{box}]").focus()')

    chromium.press(" ")
    assert shown(chromium) == [kind for kind in everything if not gone(kind)] != everything

    chromium.press(" ")
    assert shown(chromium) == everything


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(chromium, page) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan]:checked').focus()")
    reached = []
    for _ in range(6 + chromium.js(f"{PLACES}.length")):
        chromium.press("Tab")
        reached.append(
            chromium.js(
                "[document.activeElement.type, getComputedStyle(document.activeElement).outlineStyle]"
            )
        )

    places = [["button", "solid"]] * (chromium.js(f"{PLACES}.length"))
    assert reached == [["range", "solid"], *places, *[["checkbox", "solid"]] * 5]


def test_slices_to_check_are_marked_where_they_are(chromium, page) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan][value=case1_day0]').click()")

    assert chromium.js(f"[...{PLACES}].map(one => one.textContent)") == ["4–6", "10"]
    first = chromium.js(f"Number({RANGE}.split(' ')[0])")
    mark = chromium.js("viewer.querySelector('[data-part=checks] path').getAttribute('d')")
    starts = [int(part.split()[0]) for part in mark.split("M")[1:]]
    assert starts == [4 - first, 10 - first]
    box = "viewer.querySelector('[data-part={}]').getAttribute('viewBox')"
    assert chromium.js(box.format("checks")) == chromium.js(box.format("profile"))


@pytest.mark.parametrize("key", ["click", " "])
def test_slices_to_check_are_one_step_away(chromium, page, key) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan][value=case1_day0]').click()")
    chromium.js(f"{PLACES}[1].focus()")

    chromium.js(f"{PLACES}[1].click()") if key == "click" else chromium.press(key)

    assert chromium.js(TOLD).startswith("Slice 10")
    assert chromium.js(f"[...{PLACES}].map(one => one.className)") == ["", "here"]


def test_a_scan_without_slices_to_check_has_no_marks(chromium, page) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan][value=case1_day0]').click()")
    chromium.js("document.querySelector('input[name=scan][value=case1_day1]').click()")

    assert chromium.js(f"{PLACES}.length") == 0
    assert not chromium.js("viewer.querySelector('[data-part=places]').checkVisibility()")
    assert chromium.js("viewer.querySelector('[data-part=checks] path').getAttribute('d')") == ""


def test_the_table_of_where_to_look_leads_to_scan_and_slice(chromium, page) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan][value=case1_day1]').click()")
    button = 'document.querySelector(\'button[data-look="case1_day2"][data-ends="8 10"]\')'
    chromium.js(f"{button}.focus()")

    chromium.press(" ")

    assert (chromium.js(NAME), chromium.js(TOLD)) == ("case1_day2", "Slice 9")
    assert chromium.js("document.querySelector('input[name=scan]:checked').value") == "case1_day2"
    assert chromium.js("document.activeElement.dataset.part") == "slice"  # arrow keys go on there


def test_without_truth_the_most_doubtful_slices_are_shown_first(chromium, page) -> None:
    chromium.open(page)
    chromium.js("document.querySelector('input[name=scan][value=case1_day2]').click()")

    assert chromium.js(TOLD) == "Slice 5"


def test_every_control_has_a_name(chromium, page) -> None:
    chromium.open(page)

    nameless = "[...document.querySelectorAll('input')].filter(one => !one.labels.length && !one.ariaLabel)"
    assert chromium.js(f"{nameless}.length") == 0
