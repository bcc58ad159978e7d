"""One tab at a time writes a scan: taken, kept, lost in silence, had again, let go."""

import pytest

from volseg.system.locks import folder_lock
from volseg.viewer.refusal import RefusedError
from volseg.viewer.writers import LAPSES_S, Writers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writers(clock) -> Writers:
    return Writers(clock)


def refused(call, *arguments) -> str:
    with pytest.raises(RefusedError) as error:
        call(*arguments)
    assert error.value.status == 409
    return str(error.value)


def test_a_second_tab_may_only_look(writers, tmp_path) -> None:
    writers.enter("a", tmp_path)

    assert "another tab" in refused(writers.enter, "a", tmp_path)


def test_other_scans_are_free(writers, tmp_path) -> None:
    assert writers.enter("a", tmp_path / "a") != writers.enter("b", tmp_path / "b")


def test_after_the_first_has_left_the_second_may_write(writers, tmp_path) -> None:
    key = writers.enter("a", tmp_path)
    writers.leave("a", key)

    second = writers.enter("a", tmp_path)
    writers.renew("a", tmp_path, second)
    refused(writers.renew, "a", tmp_path, key)


def test_a_tab_that_gives_signs_keeps_its_place_and_a_silent_one_loses_it(writers, clock, tmp_path) -> None:
    key = writers.enter("a", tmp_path)
    for _ in range(5):
        clock.now += LAPSES_S - 1
        writers.renew("a", tmp_path, key)
    refused(writers.enter, "a", tmp_path)

    clock.now += LAPSES_S + 1
    second = writers.enter("a", tmp_path)

    assert "taken over" in refused(writers.renew, "a", tmp_path, key)
    writers.renew("a", tmp_path, second)


def test_a_tab_that_slept_has_its_place_again_where_nobody_came(writers, clock, tmp_path) -> None:
    key = writers.enter("a", tmp_path)
    clock.now += 100 * LAPSES_S
    writers.drop_silent()

    writers.renew("a", tmp_path, key)

    refused(writers.enter, "a", tmp_path)


@pytest.mark.parametrize("key", ["", "guessed"])
def test_a_key_that_was_never_given_opens_nothing(writers, tmp_path, key) -> None:
    refused(writers.renew, "a", tmp_path, key)
    writers.enter("a", tmp_path)
    writers.leave("a", key)

    refused(writers.renew, "a", tmp_path, key)
    refused(writers.enter, "a", tmp_path)


def test_the_key_of_one_scan_is_none_of_another(writers, tmp_path) -> None:
    key = writers.enter("a", tmp_path / "a")

    refused(writers.renew, "b", tmp_path / "b", key)


def test_two_servers_know_of_each_other(clock, tmp_path) -> None:
    first, second = Writers(clock), Writers(clock)
    first.enter("a", tmp_path)

    assert "another volseg" in refused(second.enter, "a", tmp_path)
    clock.now += LAPSES_S + 1
    first.drop_silent()
    second.enter("a", tmp_path)


def test_nothing_is_left_when_the_server_closes(writers, tmp_path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "stomach.nii.gz").touch()
    writers.enter("a", folder)
    writers.close()

    with folder_lock(folder, busy="held"):
        pass
    assert [path.name for path in folder.iterdir()] == ["stomach.nii.gz"]
