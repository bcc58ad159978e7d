import json
import shutil
from pathlib import Path

import pytest

from tests import tiny
from volseg.errors import UserError
from volseg.postprocessing import FillHoles
from volseg.runs import locate as runs
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.package import FILE, MODEL, Package, open_run, seal_package
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CONFIG, SPLITS, RunSplits


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose weights nobody will load."""
    facts = RunSplits(
        dataset="tiny", classes=tiny.CLASSES, exclusive=False, channels=("mr",), fold=0, train=("a",)
    )
    made = Run.create(tmp_path / "run", tiny.config(), facts)
    (made.folder / BEST).write_bytes(b"the run's weights")
    return made


@pytest.fixture
def old(run: Run) -> Run:
    """The same as volseg made it before there was a file of steps."""
    (run.folder / POSTPROCESS).unlink()
    (run.folder / CONFIG).write_text(run.config.model_dump_json())  # JSON is YAML
    return run


def package(run: Run, kind) -> Path:
    folder = run.folder.with_name(f"of-{kind}")
    folder.mkdir()
    for name in (CONFIG, SPLITS, POSTPROCESS):
        if not (run.folder / name).is_file():
            continue  # a run that volseg made before
        shutil.copyfile(run.folder / name, folder / name)
    for name in MODEL[kind]:
        (folder / name).write_bytes((run.folder / BEST).read_bytes())
    seal_package(folder, run, kind)
    return folder


def change(folder: Path, **values: object) -> None:
    told = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**told, **values}))


@pytest.mark.parametrize("kind", MODEL)
def test_a_package_opens_as_the_run_it_was_made_from(run: Run, kind) -> None:
    opened = open_run(package(run, kind))

    assert isinstance(opened, Package)
    assert (opened.config, opened.facts) == (run.config, run.facts)
    assert opened.weights_digest == run.weights_digest
    assert opened.network_identity == run.network_identity
    assert opened.trained_model.formats == (kind,)
    assert opened.trained_model.file(kind) == opened.folder / MODEL[kind][0]
    assert opened.with_config(run.config).trained_model.formats == (kind,)


@pytest.mark.parametrize("name", ["../../x", "/x", "a/b", "..", "", "a\\b", "a\0", "a\nb"])
@pytest.mark.parametrize("key", ["classes", "train", "hold_out"])
def test_no_name_in_the_splits_leads_out_of_a_folder(run: Run, key: str, name: str) -> None:
    told = json.loads((run.folder / SPLITS).read_text())
    (run.folder / SPLITS).write_text(json.dumps({**told, key: [name]}))

    with pytest.raises(UserError, match="can't be the name of") as caught:
        open_run(run.folder)

    assert f"{run.folder / SPLITS}: {key}.0: " in str(caught.value)


def test_a_package_has_the_steps_that_its_run_has_by_now(run: Run) -> None:
    tuned = run.replace_postprocess((FillHoles(),))

    opened = open_run(package(tuned, "openvino"))

    assert opened.config.postprocess == (FillHoles(),)
    assert POSTPROCESS in opened.contents.files


def test_a_package_of_before_there_was_a_file_of_steps_opens_still(old: Run) -> None:
    opened = open_run(package(old, "openvino"))

    assert POSTPROCESS not in opened.contents.files
    assert opened.config == old.config


def test_steps_that_are_put_into_a_package_are_refused(old: Run) -> None:
    """They would go before those that are vouched for."""
    folder = package(old, "openvino")
    (folder / POSTPROCESS).write_text("[]")

    with pytest.raises(UserError, match=f"{folder / POSTPROCESS}: not listed in {FILE}, so nothing"):
        open_run(folder)


def test_the_steps_of_a_package_are_not_replaced(run: Run) -> None:
    opened = open_run(package(run, "openvino"))
    before = (opened.folder / POSTPROCESS).read_bytes()

    with pytest.raises(UserError, match=r"is a package, which is sealed; change the steps of the run"):
        opened.replace_postprocess((FillHoles(),))

    assert (opened.folder / POSTPROCESS).read_bytes() == before


def test_a_run_opens_as_itself(run: Run) -> None:
    opened = open_run(run.folder)

    assert type(opened) is Run
    assert opened.network_identity == opened.weights_digest


def test_a_package_is_found_by_its_path(run: Run) -> None:
    folder = package(run, "openvino")

    assert runs.find_run(str(folder)) == folder
    assert runs.member_folders(folder) == [folder]


@pytest.mark.parametrize("kind", MODEL)
def test_a_flipped_bit_of_any_file_is_refused_and_the_file_named(run: Run, kind) -> None:
    folder = package(run, kind)
    for name in (CONFIG, SPLITS, POSTPROCESS, *MODEL[kind]):
        path = folder / name
        right = path.read_bytes()
        path.write_bytes(bytes([right[0] ^ 1]) + right[1:])

        with pytest.raises(UserError, match=f"{path}: damaged or changed.*volseg export"):
            open_run(folder)
        path.write_bytes(right)
    open_run(folder)


@pytest.mark.parametrize("kind", MODEL)
def test_a_missing_or_truncated_file_is_refused_and_named(run: Run, kind) -> None:
    folder = package(run, kind)
    for name in (CONFIG, SPLITS, POSTPROCESS, *MODEL[kind]):
        path = folder / name
        right = path.read_bytes()
        path.write_bytes(right[:-1])
        with pytest.raises(UserError, match=f"{path}: damaged or changed"):
            open_run(folder)
        path.unlink()
        with pytest.raises(UserError, match=f"{path}: missing, although {FILE} lists it"):
            open_run(folder)
        path.write_bytes(right)


def test_all_that_is_wrong_is_told_at_once(run: Run) -> None:
    folder = package(run, "openvino")
    for name in MODEL["openvino"]:
        (folder / name).unlink()

    with pytest.raises(UserError) as refused:
        open_run(folder)
    assert len(str(refused.value).splitlines()) == 2


def test_a_later_version_says_what_to_install(run: Run) -> None:
    folder = package(run, "openvino")
    change(folder, package=2, volseg="9.1", more="unknown")

    with pytest.raises(UserError, match=r"package\.json: a package of version 2.*install volseg 9\.1"):
        open_run(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", "{}", '{"name": "npm", "version": "1.0"}', '{"package": true}',
     '{"package": "1"}', '{"package": 0}'],
)  # fmt: skip
def test_a_foreign_package_json_is_refused(run: Run, text: str) -> None:
    folder = package(run, "openvino")
    (folder / FILE).write_text(text)

    with pytest.raises(UserError, match=f"{folder / FILE}: not .*volseg export"):
        open_run(folder)


@pytest.mark.parametrize("bytes_", [b"\xff\xfe{", b"\x00"])
def test_bytes_that_are_no_text_are_refused(run: Run, bytes_: bytes) -> None:
    folder = package(run, "openvino")
    (folder / FILE).write_bytes(bytes_)

    with pytest.raises(UserError, match="not JSON"):
        open_run(folder)


@pytest.mark.parametrize("name", ["../best.safetensors", "/etc/passwd", "best.pt"])
def test_files_that_no_package_has_are_not_looked_at(run: Run, name: str) -> None:
    folder = package(run, "openvino")
    told = json.loads((folder / FILE).read_text())
    change(folder, files={**told["files"], name: "0"})

    with pytest.raises(
        UserError, match=r"lists other files than a package for openvino has|can't be the name of a file"
    ):
        open_run(folder)


def test_a_file_that_is_not_listed_is_refused(run: Run) -> None:
    """Nothing would vouch for it."""
    folder = package(run, "openvino")
    told = json.loads((folder / FILE).read_text())
    del told["files"]["model.bin"]
    change(folder, files=told["files"])

    with pytest.raises(UserError, match=r"\(model\.bin\)"):
        open_run(folder)


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_a_package_without_package_json_is_no_run(run: Run, kind) -> None:
    folder = package(run, kind)
    (folder / FILE).unlink()

    with pytest.raises(UserError, match=rf"package\.json: missing, although {MODEL[kind][0]}"):
        open_run(folder)


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_a_package_of_another_format_has_no_weights_for_torch(run: Run, kind) -> None:
    opened = open_run(package(run, kind))

    with pytest.raises(UserError, match=f"is a package for {kind}, without weights for torch"):
        opened.load_network()


def test_in_8_bits_results_depend_on_what_the_ranges_were_found_on(run: Run) -> None:
    folder = package(run, "openvino")
    one = seal_package(folder, run, "openvino", "int8")
    (folder / "model.bin").write_bytes(b"other ranges")
    other = seal_package(folder, run, "openvino", "int8")

    assert one.weights_digest == other.weights_digest == run.weights_digest
    assert len({one.network_identity, other.network_identity, run.network_identity}) == 3


@pytest.mark.parametrize("kind", MODEL)
def test_nothing_in_a_package_is_a_pickle(run: Run, kind) -> None:
    assert {path.suffix for path in package(run, kind).iterdir()} <= {
        ".yaml", ".json", ".xml", ".bin", ".onnx", ".safetensors",
    }  # fmt: skip
