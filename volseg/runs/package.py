"""A package: a trained network in one format with all that inference needs, sealed by checksums.

It replaces a run, and needs torch only in torch's format. None of its files is a pickle.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from volseg import __version__
from volseg.config.config import Config
from volseg.errors import UserError
from volseg.model.engines import Format
from volseg.postprocessing import Step
from volseg.runs import locate as runs
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.folds import FILE as FOLDS
from volseg.runs.folds import NAMES
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CALIBRATION, CONFIG, SPLITS, TRAINING_SCANS, RunSplits
from volseg.schema import FileName, PathInside, Section, explain_errors
from volseg.system.files import file_sha256
from volseg.system.json_files import write_json

FILE = "package.json"
VERSION = 1
MODEL: dict[Format, tuple[str, ...]] = {
    "openvino": ("model.xml", "model.bin"),
    "onnx": ("model.onnx",),
    "torch": (BEST,),
}
"""The files of a network by format; engines read the first."""
OPTIONAL = (POSTPROCESS, CALIBRATION, TRAINING_SCANS)
"""Files that a package has where its run has them, beside config, splits and network."""
Bits = Literal["fp32", "int8"]
AGAIN = "copy the package again, or make it anew with `volseg export`"


class PackageContents(Section):
    """The content of `package.json`: format, version and run, and SHA-256 of each file.

    `weights` is the SHA-256 of the run's own weights, `precision` that of the package's network.
    """

    package: Literal[1]
    format: Format
    volseg: str
    run: str
    weights: str
    precision: Bits
    files: dict[FileName, str]


class FoldsContents(Section):
    """The content of the `package.json` of five folds, each of which is a package: it vouches for theirs.

    `files` has the SHA-256 of `folds.json` and of each fold's `package.json`.
    """

    package: Literal[1]
    volseg: str
    run: str
    files: dict[PathInside, str]


Contents = TypeVar("Contents", PackageContents, FoldsContents)


class Package(Run):
    """A package that was opened and checked."""

    def __init__(self, folder: Path, config: Config, facts: RunSplits, contents: PackageContents) -> None:
        super().__init__(folder, config, facts)
        self.contents = contents
        self.formats = (contents.format,)

    def with_config(self, config: Config) -> "Package":
        """This package with another config."""
        return Package(self.folder, config, self.facts, self.contents)

    def replace_postprocess(self, steps: Sequence[Step], comments: Sequence[str] = ()) -> "Run":
        """Raises a UserError: a package is sealed."""
        del steps, comments
        raise UserError(
            f"{self.folder}: is a package, which is sealed; change the steps of the run it was made "
            f"from, {self.contents.run}, and export that again"
        )

    def network_file(self, kind: Format | None = None) -> Path:
        """The network's file in the package's only format."""
        return self.folder / MODEL[kind or self.contents.format][0]

    @property
    def weights_file(self) -> Path:
        """The weights, which only a package for torch has."""
        if self.contents.format != "torch":
            raise UserError(
                f"{self.folder}: is a package for {self.contents.format}, without weights for torch; "
                f"use the run {self.contents.run} itself, or a package made with --format torch"
            )
        return self.folder / BEST

    @cached_property
    def weights_digest(self) -> str:
        """The SHA-256 of the run's own weights."""
        return self.contents.weights

    @property
    def network_identity(self) -> str:
        """What the network's output depends on; in 8 bits it is the file, as ranges come from scans."""
        if self.contents.precision == "fp32":
            return self.weights_digest
        return f"{self.weights_digest} {json.dumps(self.contents.files, sort_keys=True)}"


def open_run(folder: Path) -> Run:
    """A run, or a package whose files match their checksums.

    Raises:
        UserError: neither is there, or a package that is damaged, incomplete or of a later version.
    """
    if folder.name in NAMES and (folder.parent / FILE).is_file():
        _require_whole(folder.parent)
    if not (folder / FILE).is_file():
        for name in (MODEL["openvino"][0], MODEL["onnx"][0]):
            if (folder / name).is_file():
                raise UserError(f"{folder / FILE}: missing, although {name} is there; {AGAIN}")
        return Run.open(folder)
    contents = _read_contents(folder / FILE, PackageContents)
    if problems := list(_file_problems(folder, contents)):
        raise UserError.from_problems(problems)
    run = Run.open(folder)
    return Package(folder, run.config, run.facts, contents)


def seal_package(folder: Path, run: Run, kind: Format, precision: Bits = "fp32") -> Package:
    """Write `package.json` over the files of a folder, which makes it a package."""
    names = [CONFIG, SPLITS, *MODEL[kind], *(name for name in OPTIONAL if (folder / name).is_file())]
    contents = PackageContents(
        package=1,
        format=kind,
        volseg=__version__,
        run=runs.run_label(run.folder),
        weights=run.weights_digest,
        precision=precision,
        files={name: file_sha256(folder / name) for name in names},
    )
    write_json(folder / FILE, contents)
    return Package(folder, run.config, run.facts, contents)


def seal_folds(folder: Path, run: str) -> None:
    """Write `package.json` over the packages of the folds of a run, by its name, and their `folds.json`."""
    names = [FOLDS, *sorted(f"{file.parent.name}/{FILE}" for file in folder.glob(f"*/{FILE}"))]
    files = {name: file_sha256(folder / name) for name in names}
    write_json(folder / FILE, FoldsContents(package=1, volseg=__version__, run=run, files=files))


def _require_whole(folder: Path) -> None:
    """Raise a UserError for each fold of a package that is missing or another one than it was made with."""
    contents = _read_contents(folder / FILE, FoldsContents)
    if problems := list(_checksum_problems(folder, contents.files)):
        raise UserError.from_problems(problems)


def _read_contents(path: Path, kind: type[Contents]) -> Contents:
    """The checked content of `package.json`."""
    try:
        values: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); {AGAIN}") from error
    version = values.get("package") if isinstance(values, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{path}: a package of version {version}, and this volseg ({__version__}) reads version "
            f"{VERSION}; install volseg {values.get('volseg', '')} or later"
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError.from_problems(
            f"{path}: not what `volseg export` writes ({line}); {AGAIN}"
            for line in explain_errors(error, kind)
        ) from error


def _file_problems(folder: Path, contents: PackageContents) -> Iterator[str]:
    """A line for each problem with a package's files."""
    expected = {CONFIG, SPLITS, *MODEL[contents.format]}
    if odd := sorted(expected ^ (contents.files.keys() - {*OPTIONAL})):
        yield (
            f"{folder / FILE}: lists other files than a package for {contents.format} has ({odd[0]}); {AGAIN}"
        )
        return
    for name in OPTIONAL:
        if name not in contents.files and (folder / name).is_file():
            yield f"{folder / name}: not listed in {FILE}, so nothing vouches for it; remove it"
    yield from _checksum_problems(folder, contents.files)


def _checksum_problems(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """A line for each file that is missing or not what its checksum says."""
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file():
            yield f"{path}: missing, although {FILE} lists it; {AGAIN}"
        elif file_sha256(path) != sha256:
            yield f"{path}: damaged or changed: its checksum is not that in {FILE}; {AGAIN}"
