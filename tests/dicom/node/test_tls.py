"""TLS: without a certificate by a known authority nobody sends, and nothing is sent to anybody."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs volseg[dicom]")

from pynetdicom import AE

from tests.dicom_node import NODE, SENDER, Pacs, checked, let_quiet, running_node, told, values, wait_until
from tests.dicom_series import write_series
from volseg.dicom.node import series_watch
from volseg.dicom.node.settings import Tls
from volseg.dicom.node.tls import client_context, server_context
from volseg.errors import UserError

OPENSSL = shutil.which("openssl")
MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A function that gives the files of a partner, by an authority of this name."""
    if OPENSSL is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")

    def run(*words: str) -> None:
        subprocess.run([OPENSSL, *words], cwd=folder, check=True, capture_output=True)

    def make(authority: str) -> Tls:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj")
        run(
            "req",
            "-x509",
            *key,
            f"/CN={authority}",
            "-keyout",
            f"{authority}-ca.key",
            "-out",
            f"{authority}-ca.pem",
        )
        run("req", "-new", *key, "/CN=partner", "-keyout", f"{authority}.key", "-out", f"{authority}.csr")
        (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1")
        signer = ("-CA", f"{authority}-ca.pem", "-CAkey", f"{authority}-ca.key", "-CAcreateserial")
        run(
            "x509",
            "-req",
            "-in",
            f"{authority}.csr",
            *signer,
            "-extfile",
            "names.txt",
            "-out",
            f"{authority}.pem",
        )
        named = {
            "certificate": f"{authority}.pem",
            "key": f"{authority}.key",
            "authorities": f"{authority}-ca.pem",
        }
        return Tls(**{key: folder / name for key, name in named.items()})

    return make


def answer(port: int, context: ssl.SSLContext | None, images: list[Path]) -> list[int] | None:
    entity = AE(ae_title=SENDER)
    entity.add_requested_context(MR)
    secured = (context, "127.0.0.1") if context else None
    entity.acse_timeout = 5
    association = entity.associate("127.0.0.1", port, ae_title=NODE, tls_args=secured)
    if not association.is_established:
        return None
    statuses = [association.send_c_store(image).get("Status") for image in images]
    association.release()
    return statuses


def test_partners_with_certificates_work_and_all_others_are_turned_away(tmp_path, files, monkeypatch) -> None:
    monkeypatch.setattr(series_watch, "contouring_identity", lambda rule: rule.name)
    own, foreign = files("own"), files("foreign")
    pacs = Pacs(context=server_context(own))
    given = values(tmp_path / "spool", pacs.port)
    given["listen"]["tls"] = given["destinations"][0]["tls"] = own.model_dump()
    images = write_series(tmp_path / "images", shape=(3, 8, 8))
    stranger = client_context(foreign)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with running_node(checked(given)) as node:
        assert answer(node.listener.port, None, images) is None
        assert answer(node.listener.port, stranger, images) is None
        assert answer(node.listener.port, client_context(own), images) == [0x0000] * 3
        let_quiet(node)
        wait_until(lambda: told(node)["done"])
    pacs.close()

    assert len(pacs.received) == 2


def test_results_stay_where_the_destination_has_another_authority(tmp_path, files, monkeypatch) -> None:
    monkeypatch.setattr(series_watch, "contouring_identity", lambda rule: rule.name)
    pacs = Pacs(context=server_context(files("elsewhere")))
    given = values(tmp_path / "spool", pacs.port)
    given["destinations"][0]["tls"] = files("here").model_dump()
    images = write_series(tmp_path / "images", shape=(3, 8, 8))
    with running_node(checked(given)) as node:
        assert answer(node.listener.port, None, images) == [0x0000] * 3
        let_quiet(node)
        wait_until(lambda: any(job.deliveries[0].attempts for job in node.queue.in_state("sending")))
    pacs.close()

    assert not pacs.received


def test_files_that_are_no_certificates_are_a_mistake_of_the_user(tmp_path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("no PEM")
    wrong = Tls(certificate=tmp_path / "a", key=tmp_path / "b", authorities=tmp_path / "c")

    with pytest.raises(
        UserError, match=r"tls: .* can't be used: .*; expected PEM, the key without a password"
    ):
        server_context(wrong)
