"""A package: a trained network in one format with all that inference needs, sealed by checksums.

It is used in a run's place, without torch where the format is another's. No file of it is a pickle.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from volseg import __version__
from volseg.config.config import Config
from volseg.errors import UserError
from volseg.model.engines import Format, TrainedModel
from volseg.postprocessing import Step
from volseg.runs import locate as runs
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CALIBRATION, CONFIG, SPLITS, RunSplits
from volseg.schema import Section, explain_errors
from volseg.system.json_files import write_json

if TYPE_CHECKING:
    from torch import nn

FILE = "package.json"
VERSION = 1
MODEL: dict[Format, tuple[str, ...]] = {
    "openvino": ("model.xml", "model.bin"),
    "onnx": ("model.onnx",),
    "torch": (BEST,),
}
"""The files that hold a network, by format; engines are given the first."""
OPTIONAL = (POSTPROCESS, CALIBRATION)
"""Files that a package has where its run has them, beside config, splits and network."""
Bits = Literal["fp32", "int8"]
AGAIN = "copy the package again, or make it anew with `volseg export`"


class PackageContents(Section):
    """What `package.json` says: the format, by which volseg and from which run; SHA-256 of each file.

    `weights` is that of the run's own weights, `precision` how the package stores them.
    """

    package: Literal[1]
    format: Format
    volseg: str
    run: str
    weights: str
    precision: Bits
    files: dict[str, str]


class Package(Run):
    """A package that was opened and checked."""

    def __init__(self, folder: Path, config: Config, facts: RunSplits, contents: PackageContents) -> None:
        super().__init__(folder, config, facts)
        self.contents = contents

    def with_config(self, config: Config) -> "Package":
        """This package under another config."""
        return Package(self.folder, config, self.facts, self.contents)

    def replace_postprocess(self, steps: Sequence[Step], comments: Sequence[str] = ()) -> "Run":
        """Not of a package, which is sealed.

        Raises:
            UserError: always.
        """
        del steps, comments
        raise UserError(
            f"{self.folder}: is a package, which is sealed; change the steps of the run it was made "
            f"from, {self.contents.run}, and export that again"
        )

    @property
    def network_file(self) -> Path:
        """The file that an engine is given."""
        return self.folder / MODEL[self.contents.format][0]

    @property
    def trained_model(self) -> TrainedModel:
        """The network as engines find it: in the package's one format."""
        return TrainedModel(
            formats=(self.contents.format,),
            window=self.config.window,
            inputs=len(self.facts.channels),
            precision=self.config.train.precision,
            network=self.load_network,
            file=lambda _: self.network_file,
        )

    @property
    def weights_file(self) -> Path:
        """The weights.

        Raises:
            UserError: a package of another format than torch's.
        """
        if self.contents.format != "torch":
            raise UserError(
                f"{self.folder}: is a package for {self.contents.format}, without weights for torch; "
                f"use the run {self.contents.run} itself, or a package made with --format torch"
            )
        return self.folder / BEST

    def load_network(self) -> "nn.Module":
        """The network with these weights.

        Raises:
            UserError: a package of another format than torch's, or weights of another network.
        """
        _ = self.weights_file  # refused before torch is loaded
        return super().load_network()

    @cached_property
    def weights_digest(self) -> str:
        """The SHA-256 of the run's own weights."""
        return self.contents.weights

    @property
    def network_identity(self) -> str:
        """What the network's numbers depend on; those in 8 bits on the scans they were fitted to too."""
        if self.contents.precision == "fp32":
            return self.weights_digest
        return f"{self.weights_digest} {sorted(self.contents.files.items())}"


def open_run(folder: Path) -> Run:
    """A run, or a package that is whole.

    Raises:
        UserError: neither is there, or a package that is damaged, incomplete or of a later version.
    """
    if not (folder / FILE).is_file():
        _refuse_unsealed_package(folder)
        return Run.open(folder)
    contents = _read_contents(folder / FILE)
    problems = list(_file_problems(folder, contents))
    if problems:
        raise UserError.from_problems(problems)
    run = Run.open(folder)
    return Package(folder, run.config, run.facts, contents)


def seal_package(folder: Path, run: Run, kind: Format, precision: Bits = "fp32") -> Package:
    """Write `package.json` over the files of a folder, which are then a package."""
    there = [name for name in OPTIONAL if (folder / name).is_file()]
    names = [CONFIG, SPLITS, *MODEL[kind], *there]
    contents = PackageContents(
        package=1,
        format=kind,
        volseg=__version__,
        run=runs.run_label(run.folder),
        weights=run.weights_digest,
        precision=precision,
        files={name: _file_sha256(folder / name) for name in names},
    )
    write_json(folder / FILE, contents)
    return Package(folder, run.config, run.facts, contents)


def _read_contents(path: Path) -> PackageContents:
    """What `package.json` says.

    Raises:
        UserError: not JSON, of a later version, or not a package's.
    """
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
        return PackageContents.model_validate(values)
    except ValidationError as error:
        raise UserError.from_problems(
            f"{path}: not what `volseg export` writes ({line}); {AGAIN}"
            for line in explain_errors(error, PackageContents)
        ) from error


def _file_problems(folder: Path, contents: PackageContents) -> Iterator[str]:
    """What is wrong with a package's files, a line each."""
    expected = {CONFIG, SPLITS, *MODEL[contents.format]}
    if strange := sorted(expected ^ (contents.files.keys() - {*OPTIONAL})):
        yield (
            f"{folder / FILE}: lists other files than a package for {contents.format} has "
            f"({strange[0]}); {AGAIN}"
        )
        return
    for name in OPTIONAL:
        if name not in contents.files and (folder / name).is_file():
            yield f"{folder / name}: not listed in {FILE}, so nothing vouches for it; remove it"
    for name, sha256 in contents.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{path}: missing, although {FILE} lists it; {AGAIN}"
        elif _file_sha256(path) != sha256:
            yield f"{path}: damaged or changed: its checksum is not that in {FILE}; {AGAIN}"


def _refuse_unsealed_package(folder: Path) -> None:
    """Raise where a package lies whose `package.json` is gone; nothing vouches for its files."""
    for name in (MODEL["openvino"][0], MODEL["onnx"][0]):
        if (folder / name).is_file():
            raise UserError(f"{folder / FILE}: missing, although {name} is there; {AGAIN}")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
