"""Work on the page: computed edits, the work list, what is unsaved, and who may write."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests import browser, tiny, viewed
from tests.browser import Browser
from tests.view_page import ViewPage, with_probability
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.inference.correction_file import read_correction

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
SCAN, OTHER = "case2_day1", "case1_day0"
PAGE = files("volseg.viewer") / "page"
NIIVUE = "0.69.0", "d6c2be4feb1ad53b2ac76b4196da8d8fd2263b662b511c55ca0fd127eb6a6532"


@pytest.fixture
def folder(data, tmp_path) -> Path:
    """Two scans of `tiny`."""
    return with_probability(tmp_path / "predictions", data, SCAN, OTHER)


@pytest.fixture
def server(folder, data) -> Iterator[viewed.Server]:
    with viewed.Server("--predictions", str(folder), "--data", str(data)) as started:
        yield started


@pytest.fixture
def page(tab, server) -> Iterator[ViewPage]:
    opened = ViewPage(tab, server.address, SCAN)
    yield opened
    opened.js(
        "window.volseg && (volseg.session.leave(), volseg.model.savedMark = volseg.model.history.mark); 0"
    )


def stomach(page: ViewPage) -> tuple[np.ndarray, list[int]]:
    """Its mask, active, and its slices."""
    page.press("2")
    mask = page.mask(1)
    return mask, np.flatnonzero(mask.any(axis=(0, 1))).tolist()


def test_the_gap_between_drawn_slices_is_filled_at_the_cursor_and_nowhere_else(page) -> None:
    mask, slices = stomach(page)
    middle = np.argwhere(mask).mean(axis=0).round()
    for gap in slices[1:-1]:
        page.go_to(*middle[:2], gap)
        page.press("Delete")
    assert np.flatnonzero(page.mask(1).any(axis=(0, 1))).tolist() == [slices[0], slices[-1]]
    page.press("f")
    page.wait_idle()

    assert (page.mask(1) == mask).all(), "a box is the same on all slices"
    assert "Fill between" in page.text("#told")


def test_holes_are_filled_and_small_parts_removed(page) -> None:
    mask, _ = stomach(page)
    x, y, z = np.argwhere(mask).mean(axis=0).round().astype(int)
    page.js(f"""(() => {{ const {{ masks }} = volseg.model;
      const runs = new Uint32Array([masks.indexOf([{x}, {y}, {z}]), 1, masks.indexOf([0, 0, 0]), 1]);
      masks.flip(1, runs); volseg.model.record(1, runs, "test"); }})()""")
    assert page.mask(1)[0, 0, 0]
    assert not page.mask(1)[x, y, z]
    page.press("j")
    page.wait_idle()
    assert page.mask(1)[x, y, z]
    page.press("k")
    page.wait_idle()

    assert not page.mask(1)[0, 0, 0]
    page.press("z", "ctrl", times=3)
    assert (page.mask(1) == mask).all()


def test_the_work_list_is_gone_through_by_keys_and_saved(page, folder) -> None:
    work = page.js("volseg.model.facts.work")
    assert page.text("#looked") == f"0 of {len(work)} looked at"
    assert page.js("volseg.model.slice") in range(work[0]["first"], work[0]["last"] + 1)
    page.press("a")
    assert page.text("#looked") == f"1 of {len(work)} looked at"
    assert page.js("volseg.model.item") == 1
    page.press("n")
    assert page.js("volseg.model.item") == 2
    page.press("A", "shift")
    assert page.state() == "unsaved"
    (folder / SCAN / "unsaved-1").mkdir()
    page.save()

    assert f"never saved lies in {folder / SCAN / 'unsaved-1'};" in page.text("#banners .note")
    assert read_correction(folder / SCAN).looked_at == (tuple(work[0]["numbers"]),)
    page.open()
    assert page.text("#looked") == f"1 of {len(work)} looked at"
    assert page.js("volseg.model.item") == 1, "the first that nobody has looked at"


def test_masks_are_hidden_outlined_and_peeked_through_by_keys(page) -> None:
    shown = "JSON.stringify(volseg.model.shown)"
    page.press("h")
    assert not json.loads(page.js(shown))["masks"]
    page.press("o")
    assert not json.loads(page.js(shown))["fill"]
    page.tab.hold(" ")
    assert json.loads(page.js(shown))["image"]
    page.tab.release(" ")
    assert not json.loads(page.js(shown))["image"]
    for key, kind in (("t", "truth"), ("e", "earlier"), ("p", "predicted")):
        page.press(key)
        page.tab.until(f"volseg.model.shown.{kind}", 30)


def test_the_mouse_changes_slice_brush_and_window(page) -> None:
    size = page.js("volseg.model.shape")
    page.go_to(*(at // 2 for at in size))
    x, y = page.pixel(*(at / 2 for at in size))
    page.tab.mouse("Wheel", x, y, deltaX=0, deltaY=100)
    page.settle()
    assert page.js("volseg.model.slice") == size[2] // 2 - 1
    page.tab.mouse("Wheel", x, y, deltaX=0, deltaY=-100, modifiers=8)
    page.press("[")
    page.press("]")
    page.press("]")
    page.settle()
    assert page.js("volseg.model.diameter") > 10
    window = page.js("volseg.model.window")
    page.tab.drag((x, y), (x + 60, y + 10), button="right")
    page.settle()
    low, high = page.js("volseg.model.window")
    assert high - low > window[1] - window[0]


def test_a_second_tab_is_read_only_and_says_why(page, server) -> None:
    path = browser.program()
    second = Browser(path, webgl=True)
    try:
        other = ViewPage(second, server.address, SCAN)
        assert other.state() == "readonly"
        assert "another tab" in other.text("#state")
        mask = other.mask(0)
        other.press("b")
        other.stroke(tuple(at / 2 for at in mask.shape))
        other.press("a")
        other.save()
        assert (other.mask(0) == mask).all()
        assert "Read-only" in other.text("#told")
        assert other.text("#looked").startswith("0 of")
    finally:
        second.close()
    assert page.state() == "clean"


def test_unsaved_work_is_kept_aside_and_offered_again(page, folder) -> None:
    mask = page.mask(0)
    page.press("1")
    page.press("b")
    page.go_to(2, 2, 5)
    page.stroke((2.5, 2.5, 5.5))
    drawn = page.mask(0)
    assert page.state() == "unsaved"
    page.js("volseg.session.saveAside()")
    page.settle()
    assert page.text("#state").startswith("Unsaved, kept aside")
    assert read_correction(folder / SCAN) is None, "what is aside counts for nobody"
    page.js("volseg.session.leave(); volseg.model.savedMark = volseg.model.history.mark; 0")
    page.open()
    assert page.js("document.getElementById('question').open")
    assert (page.mask(0) == mask).all()
    page.js("document.querySelector('#question [value=continue]').click(); 0")
    page.tab.until("volseg.model.unsaved", 30)

    assert (page.mask(0) == drawn).all()
    page.press("z", "ctrl")
    assert (page.mask(0) == mask).all()


def test_masks_that_changed_meanwhile_are_not_overwritten(page, folder) -> None:
    path = folder / SCAN / "stomach.nii.gz"
    write_volume(Volume(np.ones(tiny.SHAPE, np.uint8), tiny.AFFINE), path)
    page.press("b")
    page.stroke((2.5, 2.5, 0))
    page.save()

    banner = page.text("#banners [data-matter=trouble] p")
    assert banner.startswith("Nothing can be saved now:")
    assert "changed meanwhile" in banner
    assert banner.endswith("Your unsaved work is kept aside.")
    assert (folder / SCAN / ".unsaved" / "correction.json").is_file()
    assert page.js("document.querySelectorAll('#banners > *').length") == 1
    assert read_correction(folder / SCAN) is None


def test_the_card_of_keys_names_every_command(page) -> None:
    table = page.js("import('../../static/commands.js').then((one) => one.keyTable())")
    known = page.js("Object.keys(volseg.commands)")
    page.press("?")

    assert set(table.values()) <= set(known)
    card = page.text("#key-card")
    assert all(word in card for word in ("Ctrl+Shift+z", "fill between slices", "Space held", "eraser"))
    page.press("Escape")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [800, 1280, 1920])
def test_nothing_is_cut_off(tab, server, width, dark) -> None:
    page = ViewPage(tab, server.address, SCAN, width=width, dark=dark)
    wide = page.js("document.documentElement.scrollWidth")
    cut = page.js(
        "[...document.querySelectorAll('header > *, #toolbar button, #toolbar label, aside button')]"
        ".filter((one) => {"
        " const box = one.getBoundingClientRect();"
        " return box.width && (box.right > innerWidth + 1 || box.bottom > innerHeight + 1);"
        "}).map((one) => one.textContent)"
    )
    page.js("volseg.session.leave(); 0")

    assert wide <= width
    assert cut == []


def test_the_list_opens_the_least_trusted_scan_by_enter(tab, server) -> None:
    tab.open(server.address)
    tab.until("document.body.dataset.ready !== undefined")
    assert tab.js("[...document.querySelectorAll('#scans th')].map((one) => one.textContent)") == [
        SCAN,
        OTHER,
    ]
    tab.press("ArrowDown")
    tab.press("ArrowUp")
    assert tab.js("document.activeElement.textContent") == SCAN
    tab.js("document.activeElement.click(); 0")
    tab.until(
        "location.pathname.includes('/scans/') && window.volseg && 'ready' in document.body.dataset", 60
    )
    assert tab.js("document.getElementById('scan').textContent") == SCAN
    tab.js("volseg.session.leave(); 0")


def test_a_browser_without_webgl_gets_pictures_and_a_reason(server, folder) -> None:
    path = browser.program()
    if path is None:
        pytest.skip("no Chromium is installed")
    plain = Browser(path)
    (folder / SCAN / "unsaved-1").mkdir()
    try:
        page = ViewPage(plain, server.address, SCAN)
        plain.until("document.getElementById('picture').naturalWidth > 0", 30)
        shown = page.js("document.getElementById('picture').src")
        assert page.state() == "readonly"
        assert "no WebGL2" in page.text("#banners")
        assert "unsaved-1" in page.text("#banners")
        page.press("n")
        assert page.js("document.getElementById('picture').src") != shown
        page.press("h")
        assert page.js("document.getElementById('picture').src").endswith("masks=0")
        assert page.problems() == []
    finally:
        plain.close()


def test_niivue_is_the_version_that_was_read_and_its_licence_lies_beside_it() -> None:
    version, digest = NIIVUE
    bundle = (PAGE / "niivue" / "index.js").read_bytes()

    assert sha256(bundle).hexdigest() == digest
    assert f'version: "{version}"'.encode() in bundle
    assert version in (PAGE / "niivue" / "README.md").read_text()
    assert "Redistribution and use in source and binary forms" in (PAGE / "niivue" / "LICENSE").read_text()


def test_every_file_of_the_page_is_small_and_loads_nothing_from_elsewhere() -> None:
    own = [file for file in PAGE.iterdir() if file.name.endswith((".js", ".css", ".html"))]

    assert len(own) > 15
    for file in own:
        text = file.read_text()
        assert len(text.splitlines()) <= 300, file.name
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), file.name
        assert "innerHTML" not in text, file.name
