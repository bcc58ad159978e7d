"""Who may send, what is answered, and what one connection can do at most."""

import errno
import socket
import struct
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom", reason="needs volseg[dicom]")

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.presentation import build_context

from tests import dicom_node
from tests.dicom_node import NODE, SENDER, checked, send, values, wait_until
from tests.dicom_series import write_series
from volseg.dicom.node import series_store
from volseg.dicom.node.connection_guard import is_allowed
from volseg.dicom.node.listener import Listener
from volseg.dicom.node.receiver import Receiver
from volseg.dicom.node.series_store import SeriesStore
from volseg.dicom.node.settings import Caller, Listen
from volseg.dicom.node.spool import Spool
from volseg.dicom.node.storage import TRANSFER_SYNTAXES

SHAPE = (2, 8, 8)


@pytest.fixture
def listening(tmp_path):
    """A function that starts a listener with changed settings; it gives its port."""
    opened = []

    def start(*, min_free_gb=0.0, **changes) -> Listener:
        listen = Listen.model_validate({**values(tmp_path)["listen"], **changes})
        store = SeriesStore(Spool.open(tmp_path / "spool"))
        listener = Listener(listen, Receiver(store, listen, min_free_gb=min_free_gb))
        listener.store = store
        opened.append(listener)
        return listener

    yield start
    for listener in opened:
        listener.close(1)


@pytest.fixture
def images(tmp_path):
    return write_series(tmp_path / "images", shape=SHAPE)


def stored(listener) -> list[bytes]:
    return [path.read_bytes() for path in listener.store.spool.series.glob("*/*.dcm")]


def rejection(listener, calling, called) -> tuple[int, int, int] | None:
    entity = AE(ae_title=calling)
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", listener.port, ae_title=called)
    if association.is_established:
        association.release()
        return None
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def test_an_echo_of_an_allowed_caller_is_answered(listening) -> None:
    entity = AE(ae_title=SENDER)
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", listening().port, ae_title=NODE)

    assert association.send_c_echo().Status == 0x0000
    association.release()


@pytest.mark.parametrize(
    ("calling", "called", "answer"),
    [(SENDER, NODE, None), ("STRANGER", NODE, (1, 1, 3)), (SENDER, "OTHER", (1, 1, 7)),
     ("sender", NODE, (1, 1, 3))],
)  # fmt: skip
def test_a_wrong_calling_or_called_title_is_rejected(listening, calling, called, answer) -> None:
    assert rejection(listening(), calling, called) == answer


def test_the_right_title_from_another_address_is_rejected(listening, images) -> None:
    listener = listening(callers=[{"ae_title": SENDER, "address": "10.1.2.0/24"}])

    assert rejection(listener, SENDER, NODE) == (1, 1, 3)
    assert send(images, listener.port) is None
    assert not stored(listener)


@pytest.mark.parametrize(
    ("title", "address", "allowed"),
    [("A", "10.0.0.7", True), ("A", "10.0.1.7", False), ("B", "10.0.0.7", False),
     ("A", "::ffff:10.0.0.7", True)],
)  # fmt: skip
def test_a_caller_is_a_title_with_a_network(title, address, allowed) -> None:
    callers = (Caller(ae_title="A", address="10.0.0.0/24"), Caller(ae_title="B", address="10.9.9.9"))

    assert is_allowed(callers, title, address) is allowed


def test_too_many_associations_are_rejected_and_a_place_is_free_again(listening) -> None:
    listener = listening(max_associations=1)
    entity = AE(ae_title=SENDER)
    entity.add_requested_context("1.2.840.10008.1.1")
    first = entity.associate("127.0.0.1", listener.port, ae_title=NODE)

    assert rejection(listener, SENDER, NODE) == (2, 3, 2)
    first.release()
    wait_until(lambda: rejection(listener, SENDER, NODE) is None)


def test_images_are_stored_as_they_were_sent(listening, images) -> None:
    listener = listening()

    assert send(images, listener.port) == [0x0000] * 2
    pixels = {dcmread(image).PixelData for image in images}
    assert {dcmread(path).PixelData for path in listener.store.spool.series.glob("*/*.dcm")} == pixels
    assert not list(listener.store.spool.incoming.iterdir())


def test_every_transfer_syntax_that_is_read_is_accepted_and_no_other(listening) -> None:
    entity = AE(ae_title=SENDER)
    deflated = "1.2.840.10008.1.2.1.99"
    for syntax in (*TRANSFER_SYNTAXES, deflated):
        entity.add_requested_context("1.2.840.10008.5.1.4.1.1.4", syntax)
    association = entity.associate("127.0.0.1", listening().port, ae_title=NODE)
    accepted = {context.transfer_syntax[0] for context in association.accepted_contexts}
    association.release()

    assert accepted == {*TRANSFER_SYNTAXES}


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4",
                                 "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.2.2.1"])  # fmt: skip
def test_other_classes_are_not_supported(listening, uid) -> None:
    entity = AE(ae_title=SENDER)
    entity.requested_contexts = [build_context("1.2.840.10008.1.1"), build_context(uid)]
    association = entity.associate("127.0.0.1", listening().port, ae_title=NODE)
    rejected = [(context.abstract_syntax, context.result) for context in association.rejected_contexts]
    association.release()

    assert rejected == [(uid, 3)]  # abstract syntax not supported


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_and_loses_nothing(listening, images, monkeypatch, number) -> None:
    listener, write = listening(), series_store._write_synced
    left = [1]

    def full(file, parts) -> None:
        if not left:
            file.write_bytes(b"half")
            raise OSError(number, "full")
        left.pop()
        write(file, parts)

    monkeypatch.setattr(series_store, "_write_synced", full)
    assert send(images, listener.port) == [0x0000, 0xA700]
    assert len(stored(listener)) == 1
    assert not list(listener.store.spool.incoming.iterdir())

    monkeypatch.setattr(series_store, "_write_synced", write)
    assert send(images, listener.port) == [0x0000] * 2
    assert len(stored(listener)) == 2


def test_a_nearly_full_disk_takes_no_images(listening, images) -> None:
    listener = listening(min_free_gb=10**9)

    assert send(images, listener.port) == [0xA700] * 2
    assert not stored(listener)


def test_a_drive_that_fails_is_told_as_that(listening, images, monkeypatch) -> None:
    listener = listening()

    def broken(*_) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(series_store, "_write_synced", broken)
    assert send(images, listener.port) == [0x0110] * 2


def test_an_image_without_its_series_is_not_understood(listening, images) -> None:
    listener = listening()
    image = dcmread(images[0])
    del image.SeriesInstanceUID
    image.save_as(images[0])

    assert send(images, listener.port) == [0xC000, 0x0000]


def test_an_image_that_is_not_the_announced_one_is_refused(tmp_path, images) -> None:
    import io

    from pynetdicom.dsutils import create_file_meta, encode

    image = dcmread(images[0])
    store = SeriesStore(Spool.open(tmp_path / "spool"))
    receiver = Receiver(store, checked(values(tmp_path)).listen, min_free_gb=0)
    request = SimpleNamespace(
        AffectedSOPClassUID=image.SOPClassUID, AffectedSOPInstanceUID="1.2.3",
        DataSet=io.BytesIO(encode(image, is_implicit_vr=False, is_little_endian=True)),
    )  # fmt: skip
    meta = create_file_meta(
        sop_class_uid=image.SOPClassUID, sop_instance_uid="1.2.3", transfer_syntax="1.2.840.10008.1.2.1"
    )

    assert receiver.answer_store(SimpleNamespace(request=request, file_meta=meta)) == 0xA900


def test_an_image_above_the_limit_breaks_the_association_before_it_is_in_memory(listening, tmp_path) -> None:
    listener = listening(max_instance_mb=1)
    large = write_series(tmp_path / "large", shape=(2, 1024, 1600))

    assert send(large[:1], listener.port) == [None]
    assert not stored(listener)
    wait_until(lambda: listener.guard.admitted == 0)


def test_many_small_images_in_one_association_are_not_taken_for_a_large_one(listening, tmp_path) -> None:
    listener = listening(max_instance_mb=1)
    images = write_series(tmp_path / "many", shape=(4, 600, 750))

    assert send(images, listener.port) == [0x0000] * 4


@pytest.mark.parametrize("kind", [1, 4])
def test_a_message_of_four_gigabytes_is_not_waited_for(listening, kind) -> None:
    listener = listening()
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
        connection.sendall(struct.pack(">BBL", kind, 0, 2**32 - 1) + b"x" * 100)

        assert connection.recv(1) in (b"", b"\x07")  # closed, or A-ABORT first


def test_a_silent_connection_is_closed_and_does_not_hold_up_others(listening, images) -> None:
    listener = listening(timeout_seconds=0.5)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
        connection.sendall(b"\x01\0")
        assert send(images, listener.port) == [0x0000] * 2

        assert connection.recv(1) == b""


def test_a_port_that_is_taken_is_a_mistake_of_the_user(listening) -> None:
    from volseg.errors import UserError

    first = listening()
    with pytest.raises(UserError, match=f"listen: 127.0.0.1:{first.port}: can't listen there"):
        listening(port=first.port)


def test_new_associations_end_with_the_listener(listening, images) -> None:
    listener = listening()
    listener.close(0)

    assert dicom_node.send(images, listener.port) is None
