"""Work that can't be saved is brought out of the page; and a scan of more organs than colours."""

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests import viewed
from tests.view_page import ViewPage, turned

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
SCAN, SHAPE = "case1_day0", (24, 20, 12)
TURNED = np.diag([-1, 1, -1, 1]) @ viewed.OBLIQUE
CLASSES = [f"organ_{number}" for number in range(1, 14)]
CANVAS = "JSON.stringify(document.getElementById('image').getBoundingClientRect())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A scan of thirteen organs, oblique, with axes the other way round than the page shows them."""
    out = tmp_path_factory.mktemp("lost") / "predictions"
    out.mkdir()
    masks = {name: np.zeros(SHAPE, np.uint8) for name in CLASSES}
    for number, mask in enumerate(masks.values()):
        mask[number : number + 6, 3 + number % 4 : 12, 2:9] = 1
    image = np.random.default_rng(0).integers(0, 500, SHAPE).astype(np.uint16)
    return viewed.prediction_of(out, SCAN, masks, TURNED, image)


@pytest.fixture(scope="module")
def server(folder) -> Iterator[viewed.Server]:
    with viewed.Server("--predictions", str(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def page(tab, server) -> ViewPage:
    return ViewPage(tab, server.address, SCAN)


def test_more_organs_than_colours_are_told_apart_by_numbers_and_the_list_follows(page) -> None:
    swatches = page.js(
        "[...document.querySelectorAll('#organs .swatch')]"
        ".map((one) => [one.style.background, one.textContent])"
    )
    assert len({colour for colour, _ in swatches}) < len(CLASSES) == len(set(map(tuple, swatches)))
    page.js("document.getElementById('organs').style.height = '90px'; volseg.model.choose(12); 0")
    page.settle()
    page.js(
        "document.getElementById('readout').textContent = 'organ '.repeat(99);"
        " document.getElementById('told').textContent = 'Saved.'; 0"
    )
    foot = page.js(
        "[...document.querySelectorAll('footer p')].map((one) => one.getBoundingClientRect().right)"
    )
    assert foot[1] <= page.js("innerWidth")
    assert page.js(
        "document.getElementById('told').scrollWidth <= document.getElementById('told').clientWidth"
    )
    row, box = page.js(
        "['#organs li:last-child', '#organs'].map((one) => {"
        " const at = document.querySelector(one).getBoundingClientRect(); return [at.top, at.bottom]; })"
    )
    assert box[0] <= row[0]
    assert row[1] <= box[1] + 1
    page.js("volseg.model.choose(0); document.getElementById('organs').style.height = ''; 0")


@pytest.fixture(scope="module")
def drawn(page, server) -> np.ndarray:
    """The first organ with a stroke that is not saved, as the server ends and saving fails in two ways."""
    place = page.js(CANVAS)
    page.press("1")
    page.press("b")
    page.stroke((3.5, 4.5, 0))
    server.process.kill()
    server.process.wait(timeout=30)
    page.save()
    page.js("volseg.session.saveAside()")
    page.settle()
    assert page.js(CANVAS) == place, "a banner has moved the picture under the pen"
    return page.mask(0)


@pytest.fixture(scope="module")
def downloaded(page, drawn, tmp_path_factory) -> Path:
    """The folder of the files that the page gave out."""
    out = tmp_path_factory.mktemp("downloaded")
    page.tab.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(out))
    page.js("document.querySelector('#banners button').click(); 0")
    wait_for(out / f"{SCAN}_masks.zip")
    with zipfile.ZipFile(out / f"{SCAN}_masks.zip") as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [f"{name}.nii.gz" for name in CLASSES]
        packed.extractall(out)
    return out


def test_there_is_one_banner_when_the_server_is_gone(page, drawn) -> None:
    banners = page.js("[...document.querySelectorAll('#banners p')].map((one) => one.textContent)")

    assert len(banners) == 1
    assert banners[0].startswith("Nothing can be saved now: volseg does not answer")
    assert banners[0].endswith("Your unsaved work is only in this page.")


def test_unsaved_masks_are_downloaded_as_volumes_that_lie_where_they_lay(downloaded, drawn, folder) -> None:
    kept = nibabel.load(downloaded / f"{CLASSES[0]}.nii.gz")
    untouched = nibabel.load(downloaded / f"{CLASSES[12]}.nii.gz")
    predicted = nibabel.load(folder / SCAN / f"{CLASSES[12]}.nii.gz")

    assert (np.asarray(kept.dataobj) == drawn).all()
    assert (np.asarray(untouched.dataobj) == turned(np.asarray(predicted.dataobj), predicted.affine)).all()
    for one in (kept, untouched):
        np.testing.assert_allclose(one.affine, nibabel.as_closest_canonical(predicted).affine, atol=1e-4)


def test_a_server_started_anew_reads_the_download_and_the_old_page_says_what_to_do(
    page, server, drawn, downloaded, folder
) -> None:
    name = f"{CLASSES[0]}.nii.gz"
    (folder / SCAN / name).write_bytes((downloaded / name).read_bytes())
    port = server.address.split(":")[2].split("/")[0]
    with viewed.Server("--predictions", str(folder), "--port", port) as anew:
        assert (anew.viewer().voxels(SCAN, f"mask/{CLASSES[0]}") == drawn).all()
        page.save()
        assert "volseg view was started anew" in page.text("#banners p")
        assert page.js("document.querySelectorAll('#banners > *').length") == 1
        assert page.js("volseg.model.unsaved")


def wait_for(file: Path) -> None:
    """Wait until a download is whole."""
    end = time.monotonic() + 30
    while not file.is_file():
        assert time.monotonic() < end, "no download"
        time.sleep(0.05)
