"""The settings of the node: a YAML file, of which everything wrong is told at once."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from volseg.arguments import parse_memory
from volseg.errors import UserError
from volseg.model.engines import Engine
from volseg.schema import Section, build_component, explain_errors
from volseg.system.files import read_text
from volseg.system.yaml_files import parse_yaml

MEGABYTE, GIGABYTE = 10**6, 10**9
Kind = Literal["RTSTRUCT", "SEG"]
Orientation = Literal["axial", "coronal", "sagittal"]


def _check_ae_title(text: str) -> str:
    """An AE title: 1 to 16 printable letters of ASCII without a backslash, blanks only inside."""
    if not re.fullmatch(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?", text):
        message = "no AE title; 1 to 16 letters and digits, e.g. VOLSEG"
        raise ValueError(message)
    return text


def _check_network(text: str) -> str:
    """An address, or a network of addresses."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        message = "no IP address or network; e.g. 10.0.0.5 or 10.0.0.0/24"
        raise ValueError(message) from error
    return text


def _check_address(text: str) -> str:
    """An IP address of this machine."""
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        message = "no IP address; e.g. 127.0.0.1, or 0.0.0.0 for all of this machine"
        raise ValueError(message) from error
    return text


def _check_memory(text: str) -> str:
    """An amount of memory, as `volseg infer` takes it."""
    try:
        parse_memory(text)
    except UserError as error:
        message = "no amount of memory; expected e.g. 800MB, 8GB or 12GiB"
        raise ValueError(message) from error
    return text


def _check_engine(name: str) -> str:
    """The name of an engine, as `volseg infer` takes it."""
    try:
        if name != "auto":
            build_component(Engine, {"name": name}, "engine")
    except UserError as error:
        raise ValueError(str(error).removeprefix("engine: ")) from error
    return name


def _check_pattern(text: str) -> str:
    """A regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        message = f"no regular expression: {error}"
        raise ValueError(message) from error
    return text


AeTitle = Annotated[str, AfterValidator(_check_ae_title)]
Network = Annotated[str, AfterValidator(_check_network)]
Address = Annotated[str, AfterValidator(_check_address)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Tls(Section):
    """Files in PEM: this node's `certificate` and `key`, and the `authorities` that sign its partners'.

    A partner without a certificate by one of the authorities is turned away.
    """

    certificate: Path
    key: Path
    authorities: Path


class Caller(Section):
    """Who may send: an AE title from an address, or from a network such as 10.0.0.0/24."""

    ae_title: AeTitle
    address: Network


class Listen(Section):
    """Where the node listens, and what it takes from whom.

    `port` 0 takes any free one. `max_instance_mb` is the largest DICOM object, `timeout_seconds` how long a
    partner may be silent.
    """

    ae_title: AeTitle
    port: int = Field(ge=0, le=65535)
    callers: tuple[Caller, ...] = Field(min_length=1)
    address: Address = "127.0.0.1"
    max_associations: PositiveInt = Field(default=4, le=100)
    max_pdu_bytes: int = Field(default=65536, ge=4096, le=1048576)
    max_instance_mb: PositiveFloat = 512
    timeout_seconds: PositiveFloat = 30
    tls: Tls | None = None


class ContourOptions(Section):
    """Options of `volseg infer` for the series of a rule, by their names there; by default as there."""

    engine: Annotated[str, AfterValidator(_check_engine)] | None = None
    device: str | None = Field(default=None, pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    overlap: float | None = Field(default=None, ge=0, lt=0.95)
    tta: Literal["flips"] | None = None
    fast: bool = False
    strict: bool = False
    gate: str | None = None
    max_memory: Annotated[str, AfterValidator(_check_memory)] | None = None
    series: str | None = None


class Rule(Section):
    """Which series are contoured, and by which runs; a series that fits several rules is contoured by each.

    `description` and `body_part` are regular expressions, found anywhere in SeriesDescription and
    BodyPartExamined, upper and lower case alike; `orientation` is the plane that the slices lie nearest to.
    Without one of these, every series fits in that respect. Several `runs` are averaged. `destinations` are
    names; by default all.
    """

    name: Name
    modality: Literal["MR", "CT"]
    runs: tuple[str, ...] = Field(min_length=1)
    description: Pattern | None = None
    body_part: Pattern | None = None
    orientation: Orientation | None = None
    min_slices: int = Field(default=2, ge=2)
    options: ContourOptions = ContourOptions()
    destinations: tuple[Name, ...] | None = Field(default=None, min_length=1)


class Destination(Section):
    """Where results go: an AE title at a host and port, and the `kinds` of results that it takes."""

    name: Name
    ae_title: AeTitle
    host: str = Field(min_length=1)
    port: Port
    kinds: tuple[Kind, ...] = Field(default=("RTSTRUCT", "SEG"), min_length=1)
    tls: Tls | None = None


class Contouring(Section):
    """Limits of the process that contours a series; killed, it is tried `attempts` times in all.

    The second try is after `wait_seconds`, each later one after twice as long as the one before.
    `max_memory_gb` limits its addresses, far more than the memory that it uses; by default there is no limit.
    """

    max_minutes: PositiveFloat = 60
    max_memory_gb: PositiveFloat | None = None
    attempts: PositiveInt = 3
    wait_seconds: PositiveFloat = 30


class Sending(Section):
    """How results are sent again: after `first_wait_seconds`, then each time twice as long, to the longest.

    After `give_up_hours` the results go to the dead letters.
    """

    first_wait_seconds: PositiveFloat = 30
    longest_wait_seconds: PositiveFloat = 3600
    give_up_hours: PositiveFloat = 24
    timeout_seconds: PositiveFloat = 30


class Retention(Section):
    """What is kept, and for how long.

    Images are kept for `images_hours` after the last one of their series, so that late slices find the
    others; masks and results until they are delivered, or for good with `keep_results`. Dead letters
    are kept for `dead_days`. That a series was contoured is remembered for `remember_days`.
    """

    images_hours: NonNegativeFloat = 1
    keep_results: bool = False
    dead_days: PositiveFloat = 14
    remember_days: PositiveFloat = 365


class NodeSettings(Section):
    """The settings of a node; a folder is contoured without `listen` and `destinations`.

    A series is complete after `quiet_seconds` without an image of it. Below `min_free_gb` on the disk of the
    `spool`, images are refused. On SIGTERM work goes on for `drain_seconds` at most.
    """

    spool: Path
    rules: tuple[Rule, ...] = Field(min_length=1)
    listen: Listen | None = None
    destinations: tuple[Destination, ...] = ()
    quiet_seconds: PositiveFloat = 60
    min_free_gb: NonNegativeFloat = 1
    drain_seconds: NonNegativeFloat = 60
    contouring: Contouring = Contouring()
    sending: Sending = Sending()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _check_names(self) -> "NodeSettings":
        problems = [*_doubled_names("rules", self.rules), *_doubled_names("destinations", self.destinations)]
        known = {one.name for one in self.destinations}
        for number, rule in enumerate(self.rules):
            unknown = [name for name in rule.destinations or () if name not in known]
            problems += [f"rules.{number}.destinations: no destination is named {name}" for name in unknown]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def destinations_of(self, rule: str) -> tuple[Destination, ...]:
        """The destinations of the results of a rule; of a rule that is gone, none."""
        found = next((one for one in self.rules if one.name == rule), None)
        if found is None:
            return ()
        return tuple(
            one for one in self.destinations if found.destinations is None or one.name in found.destinations
        )


def _doubled_names(key: str, named: tuple[Rule, ...] | tuple[Destination, ...]) -> list[str]:
    names = [one.name for one in named]
    return [f"{key}: {name} is the name of several" for name in dict.fromkeys(names) if names.count(name) > 1]


def load_settings(file: Path) -> NodeSettings:
    """The settings in a YAML file.

    Raises:
        UserError: no such file, not YAML, or wrong keys or values: all of them at once.
    """
    values = parse_yaml(read_text(file), str(file))
    return validate_settings(values, str(file))


def validate_settings(values: Any, where: str) -> NodeSettings:
    """The settings with these values; `where` begins the message.

    Raises:
        UserError: wrong keys or values, one line each.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected settings such as `spool:` and `rules:`, got {values!r}")
    try:
        return NodeSettings.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain_errors(error, NodeSettings))
        raise UserError(f"{where}:\n{lines}") from error


def listening_settings(settings: NodeSettings, where: str) -> Listen:
    """The settings of a node on the network.

    Raises:
        UserError: it has none, or no destination: all that is missing.
    """
    needed = {"listen": settings.listen, "destinations": settings.destinations}
    missing = [f"  {key}: missing; only --folder works without" for key, value in needed.items() if not value]
    if missing or settings.listen is None:
        raise UserError.from_problems([f"{where}:", *missing])
    return settings.listen
