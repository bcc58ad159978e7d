"""What a node promises: images that are acknowledged are contoured and sent once, whatever happens."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom", reason="needs volseg[dicom]")

from pydicom import dcmread
from pynetdicom import dsutils
from pynetdicom.dsutils import encode_file_meta

from tests import dicom_node
from tests.dicom_node import Pacs, checked, let_quiet, running_node, told, values, wait_until
from tests.dicom_series import write_series
from volseg.dicom.node import node as node_module
from volseg.dicom.node import series_store, series_watch
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.spool import Spool

SHAPE = (4, 8, 8)


def send(images, node) -> list[int | None] | None:
    """The statuses of images of a series, which is complete with them."""
    statuses = dicom_node.send(images, node.listener.port)
    let_quiet(node)
    return statuses


@pytest.fixture(autouse=True)
def no_run(monkeypatch) -> None:
    monkeypatch.setattr(series_watch, "contouring_identity", lambda rule: rule.name)
    monkeypatch.setattr(node_module, "TICK_SECONDS", 0.05)


@pytest.fixture
def pacs():
    partner = Pacs()
    yield partner
    partner.close()


@pytest.fixture
def starts(tmp_path, monkeypatch):
    """The number of images of each start of contouring."""
    log = tmp_path / "starts.txt"
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    return lambda: list(map(int, log.read_text().split())) if log.exists() else []


@pytest.fixture
def images(tmp_path):
    return write_series(tmp_path / "images", shape=SHAPE)


def test_a_series_becomes_one_job_and_its_results_arrive(tmp_path, pacs, images, starts) -> None:
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        assert send(images, node) == [0x0000] * 4
        wait_until(lambda: told(node)["done"])

        assert starts() == [4]
        assert sorted(one.Modality for one in pacs.received) == ["RTSTRUCT", "SEG"]
        assert told(node) == {"done": 1, "dead": 0, "open": 0}


def test_a_series_sent_again_gives_nothing_new(tmp_path, pacs, images, starts) -> None:
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: told(node)["done"])
        send(images[::-1], node)
        wait_until(lambda: not node.store.receiving)

        assert starts() == [4]
        assert len(pacs.received) == 2
        assert told(node) == {"done": 1, "dead": 0, "open": 0}


def test_a_corrected_series_under_the_same_uids_is_contoured_once_more(
    tmp_path, pacs, images, starts
) -> None:
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: told(node)["done"])
        for path in images:
            image = dcmread(path)
            image.PixelData = bytes(len(image.PixelData))
            image.save_as(path)
        for order in (1, -1):
            send(images[::order], node)
            wait_until(lambda: told(node)["done"] == 2 and not node.store.receiving)

        assert starts() == [4, 4]
        assert len(pacs.instances) == 4
        assert told(node) == {"done": 2, "dead": 0, "open": 0}


def test_the_meta_of_a_file_does_not_make_it_another_image(
    tmp_path, pacs, images, starts, monkeypatch
) -> None:
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: told(node)["done"])
        for path in images:
            image = dcmread(path)
            image.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
            image.save_as(path)
        monkeypatch.setattr(dsutils, "encode_file_meta", lambda meta: encode_file_meta(of_elsewhere(meta)))
        send(images, node)
        wait_until(lambda: not node.store.receiving)

        assert told(node) == {"done": 1, "dead": 0, "open": 0}
        assert starts() == [4]
        assert all(b"ELSEWHERE" in path.read_bytes() for path in node.spool.series.glob("*/*.dcm"))


def of_elsewhere(meta):
    meta.SourceApplicationEntityTitle = "ELSEWHERE"
    return meta


def test_late_slices_make_a_new_job_of_all_slices(tmp_path, pacs, images, starts) -> None:
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images[:3], node)
        wait_until(lambda: told(node)["done"])
        send(images[3:], node)
        wait_until(lambda: told(node)["done"] == 2)

        assert starts() == [3, 4]
        assert len(pacs.instances) == 4


def test_slices_that_come_apart_are_one_job(tmp_path, pacs, images, starts) -> None:
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        for image in images:
            dicom_node.send([image], node.listener.port)
        let_quiet(node)
        wait_until(lambda: told(node)["done"])

        assert starts() == [4]


def test_a_series_is_complete_after_a_quiet_time_since_its_last_image(tmp_path, monkeypatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(series_store, "time", SimpleNamespace(monotonic=lambda: now[0]))
    store = SeriesStore(Spool.open(tmp_path / "spool"))
    quiet = []
    for moment, series in ((0, "1.1"), (40, "1.2"), (59, "1.1"), (60, ""), (100, ""), (118, ""), (119, "")):
        now[0] = 1000.0 + moment
        if series:
            store.add_image(series, f"{series}.{moment}", (b"image",))
        quiet.append({name for name, uid in names(store).items() if uid in store.quiet_series(60)})

    assert quiet == [set(), set(), set(), set(), {"1.2"}, {"1.2"}, {"1.1", "1.2"}]


def names(store: SeriesStore) -> dict[str, str]:
    return {uid: store.spool.hide(uid) for uid in ("1.1", "1.2")}


def test_a_series_that_fits_no_rule_is_ignored_and_removed(tmp_path, pacs, caplog) -> None:
    ct = write_series(tmp_path / "ct", shape=SHAPE, modality="CT")
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node, caplog.at_level("INFO"):
        assert send(ct, node) == [0x0000] * 4
        wait_until(lambda: not node.store.receiving)

        assert told(node) == {"done": 0, "dead": 0, "open": 0}
        assert not list(node.spool.series.iterdir())
    assert caplog.text.count("ignored, as it fits no rule: a series (CT, 4 axial slices)") == 1


def test_a_destination_that_is_down_is_tried_until_it_is_up(tmp_path, images) -> None:
    gone = Pacs()
    gone.close()
    with running_node(checked(values(tmp_path / "spool", gone.port))) as node:
        send(images, node)
        wait_until(lambda: any(job.deliveries[0].attempts > 1 for job in node.queue.in_state("sending")))
        back = Pacs(gone.port)
        wait_until(lambda: told(node)["done"])
        back.close()

    assert len(back.received) == 2


def test_a_destination_that_refuses_is_tried_again(tmp_path, pacs, images) -> None:
    pacs.status = 0xA700
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: any(job.deliveries[0].attempts for job in node.queue.in_state("sending")))
        pacs.status = 0xB000  # taken, with a warning
        wait_until(lambda: told(node)["done"])

    assert len(pacs.received) == 2


def test_results_that_nobody_takes_go_to_the_dead_letters_and_are_sent_from_there(tmp_path, images) -> None:
    from volseg.dicom.node.job_queue import retry_dead

    gone = Pacs()
    gone.close()
    sending = {"first_wait_seconds": 0.1, "longest_wait_seconds": 0.1, "give_up_hours": 0.0001}
    with running_node(checked(values(tmp_path / "spool", gone.port, sending=sending))) as node:
        send(images, node)
        wait_until(lambda: told(node)["dead"])
        back = Pacs(gone.port)
        retry_dead(node.spool, ["all"])
        wait_until(lambda: told(node)["done"])
        back.close()

    assert len(back.received) == 2


def test_each_destination_gets_its_kinds(tmp_path, images) -> None:
    planning, archive = Pacs(), Pacs()
    places = [
        {"name": name, "ae_title": "PACS", "host": "127.0.0.1", "port": one.port, "kinds": [kind]}
        for name, one, kind in (("tps", planning, "RTSTRUCT"), ("pacs", archive, "SEG"))
    ]
    with running_node(checked(values(tmp_path / "spool", destinations=places))) as node:
        send(images, node)
        wait_until(lambda: told(node)["done"])
    planning.close()
    archive.close()

    assert [one.Modality for one in planning.received] == ["RTSTRUCT"]
    assert [one.Modality for one in archive.received] == ["SEG"]


def test_a_refused_series_is_not_tried_again(tmp_path, pacs, images, starts, monkeypatch) -> None:
    monkeypatch.setenv("STAND_IN", "refuse")
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: told(node)["dead"])

        assert starts() == [4]
        state = next(node.spool.dead.glob("*/job.json")).read_text()
        assert "series 1 of 1: a slice is missing" in state


def test_a_refusal_of_several_lines_is_told_from_its_first(tmp_path, pacs, images, monkeypatch) -> None:
    monkeypatch.setenv("STAND_IN", "several")
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: told(node)["dead"])

        assert json.loads(next(node.spool.dead.glob("*/job.json")).read_text())["reason"] == (
            "volseg: DICOM: 2 volumes; pick by rules.options.series NUMBER or NAME: "
            "1: scan_a (echo time 20 ms); 2: scan_b (echo time 80 ms)"
        )


def test_contouring_that_is_killed_is_tried_three_times(tmp_path, pacs, images, starts, monkeypatch) -> None:
    monkeypatch.setenv("STAND_IN", "kill")
    with running_node(checked(values(tmp_path / "spool", pacs.port))) as node:
        send(images, node)
        wait_until(lambda: told(node)["dead"])

        assert starts() == [4, 4, 4]
        assert "killed by signal 9; tried 3 times" in next(node.spool.dead.glob("*/job.json")).read_text()


def test_contouring_that_takes_too_long_is_ended(tmp_path, pacs, images, monkeypatch) -> None:
    monkeypatch.setenv("STAND_IN", "60")
    limits = {"max_minutes": 0.01, "attempts": 1}
    with running_node(checked(values(tmp_path / "spool", pacs.port, contouring=limits))) as node:
        send(images, node)
        wait_until(lambda: told(node)["dead"])

        assert "the limit; tried 1 times" in next(node.spool.dead.glob("*/job.json")).read_text()


def test_images_and_results_are_removed_once_they_are_sent(tmp_path, pacs, images) -> None:
    kept = {"images_hours": 0}
    settings = checked(values(tmp_path / "spool", pacs.port, retention=kept))
    with running_node(settings) as node:
        send(images, node)
        wait_until(lambda: told(node)["done"])
        node._pruned = 0.0
        wait_until(lambda: not list(node.spool.series.iterdir()))

        assert not list(node.spool.folder.rglob("*.dcm"))
