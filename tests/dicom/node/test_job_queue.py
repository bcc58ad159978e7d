"""The queue of jobs on the disk, whose files are its only state."""

import os
import threading
import time

import pytest

from volseg.dicom.node.job import Delivery, Job
from volseg.dicom.node.job_queue import JobQueue, retry_dead
from volseg.dicom.node.spool import Spool
from volseg.errors import UserError
from volseg.system.files import PREFIX


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool.open(tmp_path / "spool")


@pytest.fixture
def images(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"image")
    return [tmp_path / "a.dcm"]


def job(name: str, **changes) -> Job:
    return Job(id=name, rule="r", slices=1, created=time.time(), **changes)


def test_a_queue_that_is_opened_again_has_the_same_jobs(spool, images) -> None:
    queue = JobQueue(spool)
    queue.create(job("a"), images)
    delivery = Delivery(file="results/1.dcm", kind="SEG", destination="pacs", attempts=3)
    queue.create(job("b", state="sending", deliveries=(delivery,)), images)

    again = JobQueue(spool)
    for state in ("waiting", "sending"):
        assert again.in_state(state) == queue.in_state(state)
    assert (again.folder(job("a")) / "images/a.dcm").read_bytes() == b"image"


def test_a_job_in_work_waits_again_and_is_given_up_after_ten_interruptions(spool, images) -> None:
    JobQueue(spool).create(job("a"), images)
    for count in range(1, 10):
        queue = JobQueue(spool)
        running = queue.update(queue.in_state("waiting")[0].model_copy(update={"state": "running"}))
        assert (running.interruptions, running.attempts) == (count - 1, 0)
    JobQueue(spool)

    assert not JobQueue(spool).in_state("running")
    queue = JobQueue(spool)
    queue.update(queue.in_state("waiting")[0].model_copy(update={"state": "running"}))
    assert not JobQueue(spool).in_state("waiting")
    assert "the node ended 10 times" in (spool.dead / "a/job.json").read_text()


def test_a_job_that_was_killed_while_it_was_finished_is_done(spool, images) -> None:
    queue = JobQueue(spool)
    queue.create(job("a", state="sending"), images)
    job("a", state="done").write(spool.folder)
    (spool.folder / "job.json").rename(spool.ended / "a.json")

    assert not JobQueue(spool).in_state("sending")
    assert not list(spool.jobs.iterdir())


def test_a_state_that_cannot_be_read_goes_to_the_dead_letters(spool, images) -> None:
    JobQueue(spool).create(job("a"), images)
    (spool.jobs / "a/job.json").write_text("{")
    queue = JobQueue(spool)

    assert not queue.in_state("waiting")
    assert "its state could not be read" in (spool.dead / "a/job.json").read_text()
    assert queue.is_known("a")


def test_what_was_half_written_is_removed_at_the_start(spool) -> None:
    for place in (spool.incoming / "half", spool.ended / f"{PREFIX}1-a.json", spool.folder / f"{PREFIX}1-b"):
        place.write_text("half")
    Spool.open(spool.folder)

    assert not [path for path in spool.folder.rglob("*") if path.is_file() and path.name != "salt"]


def test_dead_letters_are_tried_again_by_name(spool, images) -> None:
    queue = JobQueue(spool)
    for name in ("a", "b"):
        queue.create(job(name), images)
        queue.bury(queue.in_state("waiting")[0], "because")

    with pytest.raises(UserError, match=r"no dead letter c \(there are: a, b\)"):
        retry_dead(spool, ["a", "c"])
    assert retry_dead(spool, ["a"]) == ["a"]
    queue.load_new()
    assert [one.id for one in queue.in_state("waiting")] == ["a"]
    assert [one.name for one in spool.dead.iterdir()] == ["b"]


def test_old_dead_letters_and_states_are_removed(spool, images) -> None:
    queue = JobQueue(spool)
    for name in ("dead", "done"):
        queue.create(job(name), images)
    queue.bury(queue.in_state("waiting")[0], "because")
    queue.finish(queue.in_state("waiting")[0], keep_results=False)
    queue.prune(dead_days=1, remember_days=1)
    assert queue.is_known("dead")
    assert queue.is_known("done")

    for path in (spool.dead / "dead", spool.ended / "done.json"):
        os.utime(path, (0, time.time() - 2 * 86400))
    queue.prune(dead_days=1, remember_days=1)
    assert not queue.is_known("dead")
    assert not queue.is_known("done")


def test_results_are_kept_on_request(spool, images) -> None:
    queue = JobQueue(spool)
    queue.create(job("a"), images)
    (spool.jobs / "a/results").mkdir()
    (spool.jobs / "a/results/1.dcm").write_bytes(b"seg")
    queue.finish(queue.in_state("waiting")[0], keep_results=True)

    assert (spool.ended / "a/1.dcm").read_bytes() == b"seg"
    assert not list(spool.jobs.iterdir())


def test_a_queue_is_looked_through_while_jobs_end(spool, images) -> None:
    queue = JobQueue(spool)
    for number in range(60):
        queue.create(job(str(number)), images)

    def end_all() -> None:
        for one in queue.in_state("waiting"):
            queue.finish(one, keep_results=False) if int(one.id) % 2 else queue.bury(one, "because")

    thread = threading.Thread(target=end_all)
    thread.start()
    while thread.is_alive():
        queue.load_new()
    thread.join()

    assert not list(spool.jobs.iterdir())
    assert not queue.in_state("waiting")
    assert (len(list(spool.dead.iterdir())), len(list(spool.ended.iterdir()))) == (30, 30)


def test_names_in_two_spools_differ_and_tell_nothing(tmp_path) -> None:
    names = {Spool.open(tmp_path / one).hide("1.2.3") for one in ("a", "b")}

    assert len(names) == 2
    assert all(len(name) == 32 and not {*name} - {*"0123456789abcdef"} for name in names)
    assert Spool.open(tmp_path / "a").hide("1.2.3") in names
