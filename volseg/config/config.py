"""The config of a run: a YAML file, checked before anything heavy is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from volseg.config.sections import Augment, Data, Inference, Train
from volseg.errors import UserError, nearest_hint
from volseg.model.losses import DiceCE, Loss
from volseg.model.networks import Network, UNet
from volseg.model.optimizers import AdamW, OptimizerChoice
from volseg.postprocessing import FillHoles, Step, Threshold
from volseg.schema import Section, Size, explain_errors
from volseg.system.files import read_text
from volseg.system.yaml_files import parse_yaml

SLICES = 32
"""Slices of a default window of a network that sees slices one by one: its neighbours are little of it."""


class Config(Section):
    """The settings of a run; classes and channels are facts of the dataset instead.

    Without a list `postprocess`, a run begins with the default and what its training labels justify.
    """

    data: Data = Data()
    augment: Augment = Augment()
    network: Network = UNet()
    loss: Loss = DiceCE()
    optimizer: OptimizerChoice = AdamW()
    train: Train = Train()
    inference: Inference = Inference()
    postprocess: tuple[Step, ...] = (Threshold(), FillHoles())

    @model_validator(mode="after")
    def _fits_the_network(self) -> "Config":
        stride = self.network.stride
        for key, size in (("train.patch", self.train.patch), ("inference.window", self.window)):
            if any(n % s for n, s in zip(size, stride, strict=True)):
                near = [max(s, round(n / s) * s) for n, s in zip(size, stride, strict=True)]
                message = (
                    f"{key}: {list(size)} is not divisible by the stride {list(stride)} "
                    f"of {self.network.name}; {near} would be"
                )
                raise ValueError(message)
            if tuple(size) == stride:
                message = f"{key}: {list(size)} leaves the deepest level of {self.network.name} one voxel"
                raise ValueError(f"{message}; {[2 * n for n in size]} would be enough")
        return self

    @model_validator(mode="after")
    def _keeps_slices(self) -> "Config":
        """A network that sees neighbouring slices needs them, in their order and plane."""
        reach, name = self.network.reach[2], self.network.name
        if not reach:
            return self
        for key, size in (("train.patch", self.train.patch), ("inference.window", self.window)):
            if size[2] <= 2 * reach:
                message = (
                    f"{key}: {list(size)} is too flat for {name}, which sees {reach} slices on either side"
                )
                raise ValueError(f"{message}; {2 * reach + 1} slices or more would do")
        turned = {
            "augment.flip": "z" in self.augment.flip,
            "augment.rotate_degrees": any(self.augment.degrees[:2]),
            "inference.flips": "z" in self.inference.flips,
        }
        for key, out_of_plane in turned.items():
            if out_of_plane:
                way_out = "turn about z alone" if "rotate" in key else "leave z out"
                raise ValueError(
                    f"{key}: {name} sees slices from head to feet, in their own plane; {way_out}"
                )
        return self

    @property
    def lists_steps(self) -> bool:
        """Whether the config itself lists `postprocess`; else `volseg train` adds what the labels justify."""
        return "postprocess" in self.model_fields_set

    def to_values(self) -> dict[str, Any]:
        """JSON values of which `validate_values` makes this config again; steps only if it lists them."""
        return self.model_dump(mode="json", exclude=set() if self.lists_steps else {"postprocess"})

    @property
    def window(self) -> Size:
        """The sliding window in voxels (X, Y, Z): by default the patch, or deeper where slices are apart."""
        x, y, z = self.train.patch
        deeper = (x, y, max(z, SLICES)) if self.network.reach[2] else self.train.patch
        return self.inference.window or deeper


def load(file: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (or a shipped one of this name) and apply `section.key=value` overrides.

    Raises:
        UserError: no such file, not YAML, or wrong keys or values: all of them at once.
    """
    values = parse_sections(read_text(_find_file(file)), str(file))
    _refuse_lost_overrides(overrides)
    for override in overrides:
        _apply_override(values, override)
    return validate_values(values, str(file))


def validate_values(values: Any, where: str) -> Config:
    """The config with these values; `where` begins the message.

    Raises:
        UserError: wrong keys or values, one line each.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain_errors(error, Config))
        raise UserError(f"{where}:\n{lines}") from error


def shipped_configs() -> list[str]:
    """The names of the configs that come with volseg."""
    return sorted(entry.name for entry in _shipped_folder().iterdir() if entry.name.endswith(".yaml"))


def _shipped_folder() -> Path:
    """The folder of the configs that come with volseg: in the package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / inside.name


def _find_file(file: Path) -> Path:
    if file.is_file():
        return file
    name = file.name if file.suffix else f"{file.name}.yaml"
    if str(file.parent) in (".", "configs") and name in shipped_configs():
        return _shipped_folder() / name
    known = [f"configs/{known}" for known in shipped_configs()]
    raise UserError(
        f"{file}: no such config{nearest_hint(f'configs/{name}', known)} (shipped: {', '.join(known)})"
    )


def parse_sections(text: str, where: str) -> dict[str, Any]:
    """YAML as a dict of sections.

    Raises:
        UserError: not YAML, a key given twice, or no sections.
    """
    values = parse_yaml(text, where)
    if values is not None and not isinstance(values, dict):
        raise UserError(f"{where}: expected sections such as `network:`, got {values!r}")
    return values or {}


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set a dotted key; a component given by name alone becomes a section first."""
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise UserError(f"{override}: an override reads section.key=value, e.g. optimizer.lr=1e-4")
    *path, last = key.split(".")
    section, default = values, Config()  # type: Any, Any
    for part in path:
        default = getattr(default, part, None)
        below = section.get(part)
        if isinstance(below, list) or isinstance(default, tuple):
            raise UserError(f"{override}: {part} is a list; give it whole, {part}=[...]")
        if not isinstance(below, dict):
            name = below if isinstance(below, str) else getattr(default, "name", None)
            below = {"name": name} if name else {}
            section[part] = below
        section = below
    section[last] = parse_yaml(text, override)


def _refuse_lost_overrides(overrides: Sequence[str]) -> None:
    """Raise a UserError for a setting that is given twice, or that a whole section given later drops."""
    keys = [override.partition("=")[0] for override in overrides]
    for place, key in enumerate(keys):
        lost = next((other for other in keys[:place] if f"{other}.".startswith(f"{key}.")), None)
        if lost == key:
            raise UserError(f"{overrides[place]}: {key} is given twice; give it once")
        if lost is not None:
            raise UserError(f"{overrides[place]}: would drop {lost}, given before; give it before {lost}")
