"""Images on the disk: which are the same, and what becomes of one that is sent again with other content."""

from pathlib import Path

import pytest

from volseg.dicom.node.job import Job
from volseg.dicom.node.job_queue import JobQueue
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.spool import Spool

SERIES, IMAGE = "1.1", "1.1.1"


@pytest.fixture
def store(tmp_path) -> SeriesStore:
    return SeriesStore(Spool.open(tmp_path / "spool"))


def decide(store: SeriesStore) -> None:
    for series, last in store.quiet_series(0).items():
        store.mark_decided(series, last, keep=True)


def contents(store: SeriesStore) -> list[bytes]:
    return sorted(path.read_bytes() for path in store.spool.series.glob("*/*.dcm"))


def names(store: SeriesStore) -> list[Path]:
    return store.images(store.spool.hide(SERIES))


def test_images_that_share_a_uid_are_all_kept_for_a_decision(store) -> None:
    for content in (b"one", b"two", b"three", b"two"):
        store.add_image(SERIES, IMAGE, (content,))

    assert contents(store) == [b"one", b"three", b"two"]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_image_with_other_content_replaces_the_one_that_was_decided_on(store, restarted) -> None:
    for uid in (IMAGE, f"{IMAGE}.2"):
        store.add_image(SERIES, uid, (b"old",))
    decide(store)
    for uid in (IMAGE, f"{IMAGE}.2"):
        store = SeriesStore(store.spool) if restarted else store
        store.add_image(SERIES, uid, (b"new",))

    assert contents(store) == [b"new", b"new"]


def test_one_of_two_images_of_a_uid_that_is_sent_again_is_the_one_that_counts(store) -> None:
    for content in (b"wrong", b"right"):
        store.add_image(SERIES, IMAGE, (content,))
    decide(store)
    store.add_image(SERIES, IMAGE, (b"right",))

    assert contents(store) == [b"right"]


def test_names_change_with_the_content_and_not_with_the_rest_of_a_file(store) -> None:
    store.add_image(SERIES, IMAGE, (b"meta", b"pixels"), content=(b"pixels",))
    before = names(store)
    decide(store)
    store.add_image(SERIES, IMAGE, (b"other meta", b"pixels"), content=(b"pixels",))
    assert names(store) == before

    decide(store)
    store.add_image(SERIES, IMAGE, (b"meta", b"PIXELS"), content=(b"PIXELS",))
    assert len(names(store)) == 1
    assert names(store) != before


@pytest.mark.parametrize("content", [b"new", b"old"])
def test_a_job_keeps_the_bytes_that_it_was_made_of(store, content) -> None:
    store.add_image(SERIES, IMAGE, (b"meta", b"old"), content=(b"old",))
    queue = JobQueue(store.spool)
    queue.create(Job(id="a", rule="r", slices=1, created=0), names(store))
    decide(store)
    store.add_image(SERIES, IMAGE, (b"META", content), content=(content,))

    assert contents(store) == [b"META" + content]
    assert [path.read_bytes() for path in store.spool.jobs.glob("a/images/*")] == [b"metaold"]


def test_a_job_of_an_image_that_is_gone_leaves_nothing_behind(store) -> None:
    queue = JobQueue(store.spool)
    with pytest.raises(FileNotFoundError):
        queue.create(Job(id="a", rule="r", slices=1, created=0), [store.spool.series / "gone.dcm"])

    assert not list(store.spool.incoming.iterdir())
    assert not queue.is_known("a")
