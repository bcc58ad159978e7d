"""How fast a scan of the competition's size is ready and a stroke is seen, without a graphics card."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import viewed
from tests.view_page import READY, ViewPage
from volseg.data.volume import stack_affine

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
pytestmark = pytest.mark.slow
SHAPE, SCAN = (266, 266, 144), "case1_day0"
READY_SECONDS, STROKE_MS = 3.0, 100.0
STROKE = """(async () => {
  const canvas = document.getElementById('overlay'), box = canvas.getBoundingClientRect();
  const send = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind,
    { pointerId: 1, clientX: box.left + x, clientY: box.top + 330, button: 0, buttons: 1, bubbles: true }));
  canvas.setPointerCapture = () => {};
  const took = [];
  send('pointerdown', 250);
  for (let i = 1; i <= 20; i += 1) {
    const begun = performance.now();
    const drawn = new Promise((done) => { const draw = volseg.overlay.draw;
      volseg.overlay.draw = function () {
      draw.call(this); delete volseg.overlay.draw; done(); }; });
    send('pointermove', 250 + 6 * i);
    await drawn;
    took.push(performance.now() - begun);
  }
  send('pointerup', 370);
  return took.sort((a, b) => a - b)[10];
})()"""
"""The median of the milliseconds from a move of the mouse to what it drew, in a stroke with a wide brush."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[viewed.Server]:
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    masks = {
        name: ((x - at) / 40) ** 2 + ((y - 130) / 30) ** 2 + ((z - 70) / 40) ** 2 + 0.2 * np.sin(x / 5) < 1
        for name, at in (("large_bowel", 90), ("small_bowel", 130), ("stomach", 170))
    }
    out = tmp_path_factory.mktemp("speed") / "predictions"
    out.mkdir()
    image = rng.integers(0, 4000, SHAPE, dtype=np.uint16)
    viewed.prediction_of(out, SCAN, masks, stack_affine((1.5, 1.5), 3.0), image)
    with viewed.Server("--predictions", str(out)) as started:
        started.viewer().facts(SCAN)  # the image is read once
        yield started


def processor_seconds(parent: int) -> dict[int, float]:
    """Processor time that each process below one has taken."""
    found, ticks = {}, os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks)
    family = {parent}
    while more := {one for one, (above, _) in found.items() if above in family} - family:
        family |= more
    return {one: found[one][1] for one in family if one in found}


def test_a_large_scan_is_ready_in_three_seconds(tab, server) -> None:
    """By the clock, or on a machine that is busy by the busiest process: the others run beside it."""
    before, begun = processor_seconds(tab.process), time.monotonic()
    tab.open(f"{server.address}scans/{SCAN}/")
    tab.until(READY, 120)
    clock, after = time.monotonic() - begun, processor_seconds(tab.process)
    busiest = max(seconds - before.get(one, 0) for one, seconds in after.items())

    told = f"ready after {clock:.1f} s, the busiest process took {busiest:.1f} s"
    assert min(clock, busiest) <= READY_SECONDS, told


def test_a_stroke_is_seen_within_a_tenth_of_a_second(tab, server) -> None:
    page = ViewPage(tab, server.address, SCAN)
    page.press("b")
    page.js("volseg.model.diameter = 40; 0")
    took = [page.js(STROKE) for _ in range(3)]
    page.js("volseg.session.leave(); volseg.model.savedMark = volseg.model.history.mark; 0")

    assert page.mask(0).sum() > 0
    assert min(took) <= STROKE_MS, took
