"""Edits that meet on the page: what is previewed, computed, painted and taken back."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests import viewed
from tests.view_page import ViewPage, with_probability

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
SCAN, OTHER = "case2_day1", "case1_day0"
STOMACH = 1
LOWER = """(() => { const slider = document.getElementById('threshold-value');
  slider.value = 0.3; slider.dispatchEvent(new Event('input')); })()"""
SLOW = """(() => { window.fetchNow ??= window.fetch;
  const held = new Promise((resolve) => { window.answer = resolve; });
  window.fetch = async (...asked) => { const answer = await window.fetchNow(...asked);
    if (String(asked[0]).includes('/edit/')) await held;
    return answer; }; })()"""
"""Python computes until `answer()` is called."""
BACK = """window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
  window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })); 0"""
"""As when the browser keeps the page, shows another, and goes back."""


@pytest.fixture(scope="module")
def server(data, tmp_path_factory) -> Iterator[viewed.Server]:
    folder = with_probability(tmp_path_factory.mktemp("edits") / "predictions", data, SCAN, OTHER)
    with viewed.Server("--predictions", str(folder), "--data", str(data)) as started:
        yield started


@pytest.fixture(scope="module")
def opened(tab, server) -> ViewPage:
    return ViewPage(tab, server.address, SCAN)


@pytest.fixture
def page(opened) -> Iterator[ViewPage]:
    """One page for all tests here, with the stomach active at its middle; each leaves it as it was."""
    opened.press("2")
    middle = np.argwhere(opened.mask(STOMACH)).mean(axis=0).round()
    opened.go_to(*middle)
    yield opened
    opened.js("window.answer?.(); window.fetch = window.fetchNow ?? window.fetch; 0")
    opened.wait_idle()
    opened.js("""volseg.edits.cancel(); volseg.model.looked.clear(); volseg.commands.look();
      while (volseg.model.history.canUndo) volseg.model.history.undo(); volseg.model.history.clear();
      volseg.model.markSaved(volseg.model.history.mark, ''); document.activeElement.blur(); 0""")
    opened.settle()


def previewed(page: ViewPage) -> tuple[np.ndarray, np.ndarray]:
    """The stomach before, and as a lower threshold shows it, which is not kept yet."""
    before = page.mask(STOMACH)
    page.press("g")
    page.js(LOWER)
    page.wait_idle()
    shown = page.mask(STOMACH)
    assert shown.sum() > before.sum()
    return before, shown


def dot(page: ViewPage) -> None:
    """Paint in a corner of the slice, where no organ is."""
    page.js("volseg.model.diameter = 4; 0")
    page.stroke((2.5, 2.5, page.js("volseg.model.slice") + 0.5))


def painted(page: ViewPage) -> np.ndarray:
    """The stomach with a dot, painted."""
    page.press("b")
    dot(page)
    return page.mask(STOMACH)


def test_a_lower_threshold_takes_more_on_its_run_of_slices_until_it_is_cancelled(page) -> None:
    mask, lower = previewed(page)
    first, last = page.js("[volseg.edits.preview.shown.first, volseg.edits.preview.shown.last]")

    assert lower[..., first : last + 1].sum() > mask[..., first : last + 1].sum()
    assert (lower[..., :first] == mask[..., :first]).all()
    assert (lower[..., last + 1 :] == mask[..., last + 1 :]).all()
    page.press("Escape")
    assert (page.mask(STOMACH) == mask).all()
    previewed(page)
    page.js("document.getElementById('threshold').requestSubmit(); 0")
    page.settle()
    assert (page.mask(STOMACH) == lower).all()
    page.press("z", "ctrl")
    assert (page.mask(STOMACH) == mask).all()


def test_a_stroke_keeps_the_threshold_that_is_shown_as_a_step_before_it(page) -> None:
    before, lower = previewed(page)
    drawn = painted(page)

    assert (drawn & ~lower).any()
    assert (drawn & lower == lower).all(), "the stroke took none of the threshold"
    assert page.js("document.getElementById('threshold').hidden")
    page.js(LOWER)
    page.wait_idle()
    assert (page.mask(STOMACH) == drawn).all(), "a slider that is out of sight changes nothing"
    page.press("z", "ctrl")
    assert (page.mask(STOMACH) == lower).all()
    page.press("z", "ctrl")
    assert (page.mask(STOMACH) == before).all()


def test_enter_keeps_the_threshold_first_and_draws_a_dab_after_that(page) -> None:
    _, lower = previewed(page)
    page.press("b")
    page.js("document.getElementById('overlay').focus(); 0")
    page.press("Enter")
    assert (page.mask(STOMACH) == lower).all()
    assert page.js("volseg.edits.preview === null")
    page.go_to(2, 2, page.js("volseg.model.slice"))
    page.press("Enter")

    assert (page.mask(STOMACH) & ~lower).any()


def test_redo_drops_the_threshold_that_is_shown(page) -> None:
    before = page.mask(STOMACH)
    drawn = painted(page)
    page.press("z", "ctrl")
    previewed(page)
    page.press("Z", "ctrl", "shift")

    assert (page.mask(STOMACH) == drawn).all()
    page.press("z", "ctrl")
    assert (page.mask(STOMACH) == before).all()
    page.press("z", "ctrl")
    assert page.text("#told") == "Nothing to undo."


@pytest.mark.parametrize("how", ["submit", "save", "operation"])
def test_a_threshold_that_is_still_computed_is_waited_for(page, how) -> None:
    before, lower = previewed(page)
    page.press("Escape")
    page.press("g")
    page.wait_idle()
    page.js(SLOW)
    page.js(LOWER)
    page.js({
        "submit": "document.getElementById('threshold').requestSubmit(); 0",
        "save": "volseg.session.save = async () => { window.kept = volseg.model.history.done; }; 0",
        "operation": "volseg.commands.keepLargest(); 0",
    }[how])  # fmt: skip
    if how == "save":
        page.press("s", "ctrl")
        assert page.js("window.kept === undefined")
    page.js("window.answer(); 0")
    page.tab.until("volseg.edits.preview === null")
    page.wait_idle()

    assert page.js("volseg.model.history.steps[0].text").startswith("Threshold 0.30")
    assert (page.mask(STOMACH) == lower).all()
    if how == "save":
        page.tab.until("window.kept === 1")
        page.js("delete volseg.session.save; 0")
    page.press("z", "ctrl")
    assert (page.mask(STOMACH) == before).all()


def test_while_python_computes_nothing_is_drawn_undone_or_redone(page) -> None:
    before = page.mask(STOMACH)
    drawn = painted(page)
    page.js(SLOW)
    page.press("k")
    for key in (("z", "ctrl"), ("Z", "ctrl", "shift"), ("Enter",)):
        page.press(*key)
        assert "is being computed" in page.text("#told")
        assert (page.mask(STOMACH) == drawn).all()
    page.js("volseg.model.use('erase'); 0")
    dot(page)
    assert (page.mask(STOMACH) == drawn).all()
    page.js("window.answer(); 0")
    page.wait_idle()

    assert (page.mask(STOMACH) == before).all(), "the dot is a small part"
    page.press("z", "ctrl")
    assert (page.mask(STOMACH) == drawn).all()


def test_a_stroke_waits_for_the_threshold_and_a_cancelled_one_comes_too_late(page) -> None:
    before, _ = previewed(page)
    page.js(SLOW)
    page.js(LOWER.replace("0.3", "0.9"))
    shown = page.mask(STOMACH)
    page.press("b")
    dot(page)
    assert (page.mask(STOMACH) == shown).all()
    page.press("Escape")
    drawn = painted(page)
    assert (drawn & ~before).any()
    page.js("window.answer(); 0")
    page.settle()
    page.settle()

    assert (page.mask(STOMACH) == drawn).all()


def test_a_key_that_is_held_accepts_once_and_zooms_on(page) -> None:
    page.js("volseg.commands.goTo(0); 0")
    zoom = "volseg.planes.panes[0].step[0]"
    before = page.js(zoom)
    for key, times in (("a", 4), ("h", 2), ("+", 3)):
        for again in range(times):
            page.tab.hold(key, again=again > 0)
        page.tab.release(key)
    page.settle()

    assert page.js("volseg.model.lookedCount") == 1
    assert page.js("volseg.model.item") == 1
    assert not page.js("volseg.model.shown.masks")
    assert abs(page.js(zoom)) < abs(before) / 1.25**2
    page.press("h")
    page.press("0")
    page.js("document.querySelector('[data-command=accept]').focus(); 0")
    for again in range(3):
        page.tab.hold("Enter", again=again > 0)
    page.tab.release("Enter")
    page.settle()
    assert page.js("volseg.model.lookedCount") == 2


def test_a_stroke_ends_where_its_plane_ends_on_the_screen(page) -> None:
    page.press("Delete")
    before = page.mask(STOMACH)
    page.js("volseg.overlay.pointer = null; 0")
    for _ in range(6):
        page.press("+")
    page.press("b")
    page.js("volseg.model.diameter = 1; 0")
    code = """(() => { const [main, beside] = volseg.planes.panes;
      const box = document.getElementById('overlay').getBoundingClientRect();
      return [[main, 0.5, 0.5], [main, 1, 0.5], [beside, 0.9, 0.8], [main, 0.9, 0.9]].map(([pane, x, y]) =>
        [box.left + pane.left + x * pane.width, box.top + pane.top + y * pane.height]); })()"""
    inside, edge, beyond, back = page.js(code)
    page.tab.drag(inside, beyond, back)
    page.settle()
    drawn = np.argwhere(page.mask(STOMACH) & ~before)
    ends = np.array([page.place(pixel) for pixel in (inside, edge)])[:, 0]
    page.press("0")

    assert len(drawn) > 2
    assert 1 < ends.min() < ends.max() < page.js("volseg.model.shape[0]") - 1, "all is in sight"
    assert drawn[:, 0].min() >= np.floor(ends.min()), "voxels that were out of sight"


def test_a_stroke_ends_where_the_window_changes_its_size(page) -> None:
    """Its pixels are other places then."""
    page.press("b")
    start = page.pixel(2.5, 2.5, 0)
    page.tab.mouse("Moved", *start, button="none")
    page.tab.mouse("Pressed", *start)
    drawn = page.mask(STOMACH)
    box = "document.getElementById('panes').style"
    page.js(f"{box}.marginRight = '300px'; 0")
    page.tab.until("volseg.model.history.canUndo", 10)
    page.tab.mouse("Moved", start[0] + 90, start[1] + 60)
    page.tab.mouse("Released", start[0] + 90, start[1] + 60)
    page.settle()
    assert (page.mask(STOMACH) == drawn).all()
    page.js(f"{box}.marginRight = ''; 0")
    page.settle()


def test_a_stroke_that_is_undone_is_seen_in_its_plane(page) -> None:
    page.press("b")
    x, y, z = cursor = page.js("volseg.model.cursor")
    page.stroke((x + 0.5, 0, z + 3.5), axis=1)
    page.go_to(x, y + 4, z)
    page.press("z", "ctrl")

    assert page.js("volseg.model.cursor") == cursor


def test_a_threshold_that_is_shown_is_unsaved_work_but_not_yet_kept_aside(page) -> None:
    before, _ = previewed(page)

    assert page.state() == "unsaved"
    assert page.text("#threshold label").startswith("Threshold of stomach")
    kept = page.js("volseg.model.keptMasks.map((voxels) => voxels.reduce((sum, one) => sum + one, 0))")
    assert kept[STOMACH] == before.sum()
    page.press("Escape")
    assert page.state() == "clean"


def test_a_slice_that_the_scan_has_not_is_told_and_not_applied(page) -> None:
    before, lower = previewed(page)
    page.js("""(() => { const field = document.getElementById('threshold-last');
      field.value = 999; field.dispatchEvent(new Event('input')); })()""")
    page.js("document.getElementById('threshold').requestSubmit(); 0")
    page.settle()

    assert page.text("#told") == "Slices run from 1 to 10."
    assert page.js("document.querySelector('#threshold-last:invalid') !== null")
    assert page.js("volseg.edits.preview !== null")
    assert (page.mask(STOMACH) == lower).all()
    page.press("Escape")
    assert (page.mask(STOMACH) == before).all()


def test_a_denser_screen_gets_a_denser_picture(page) -> None:
    size = page.js("[volseg.planes.canvas.width, volseg.planes.canvas.height]")
    screen = {"width": 1280, "height": 844, "mobile": False}
    page.tab.ask("Emulation.setDeviceMetricsOverride", **screen, deviceScaleFactor=2)
    page.tab.until("volseg.planes.density === 2", 10)
    page.settle()
    dense = page.js("[volseg.overlay.canvas.width, volseg.overlay.canvas.height]")
    page.tab.ask("Emulation.setDeviceMetricsOverride", **screen, deviceScaleFactor=1)
    page.tab.until("volseg.planes.density === 1", 10)

    assert dense == [2 * side for side in size]


def test_the_finest_brush_is_half_a_millimetre(page) -> None:
    for _ in range(20):
        page.tab.press("[")
    page.settle()

    assert page.text("#size-told") == "0.5 mm"
    assert page.js("document.getElementById('size').value") == "0.5"
    page.js("volseg.model.diameter = 10; 0")


def test_a_page_that_the_browser_kept_asks_for_the_right_to_write_again(page, server) -> None:
    drawn = painted(page)
    page.js(BACK)
    page.tab.until("volseg.model.canEdit", 10)
    assert page.js("volseg.session.writer") != ""
    assert (page.mask(STOMACH) == drawn).all()
    other = server.viewer()
    page.js("volseg.session.leave(); 0")
    page.tab.until("!volseg.session.writer")
    other.enter(SCAN)
    page.js(BACK)
    page.tab.until("volseg.model.readOnly.includes('another tab')", 10)
    assert page.state() == "readonly"
    other.ask("POST", f"api/scans/{SCAN}/writer/release", json={"writer": other.key})
    page.js(BACK)
    page.tab.until("volseg.model.canEdit", 10)
