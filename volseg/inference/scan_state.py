"""A scan on its way from its files to its masks, and what is known of it so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.data.image_identity import ScanIdentity
from volseg.data.volume import Volume
from volseg.inference.earlier_prediction import EarlierPrediction
from volseg.inference.prediction_record import PredictionRecord
from volseg.inference.predictor import Changes
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.inference.scan_sources import ScanSource
from volseg.inference.time_limit import Effort
from volseg.system.timing import StepTimer


@dataclass
class ScanState:
    """A scan between its files and its masks; `record` is None until the scan is done or has failed.

    Until it owns its folder, nothing there may be replaced. Once it is claimed, its record says who has it;
    `attempt` tells how many have begun with it.
    """

    source: ScanSource
    earlier: EarlierPrediction
    effort: Effort
    attempt: int = 1
    owns_folder: bool = False
    claimed: bool = False
    identity: ScanIdentity = field(init=False)
    seconds: StepTimer = field(default_factory=StepTimer)
    channels: Sequence[Volume] = ()
    digest: str = ""
    maps: ProbabilityMaps = field(init=False)
    changes: Changes = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    record: PredictionRecord | None = None
    outside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.identity = self.source.identity(())

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.earlier.folder

    @property
    def conflict(self) -> str:
        """The reason why it must not replace what is in its folder, or ''."""
        grid = self.channels[0] if self.channels else None
        return self.earlier.conflict_with(self.source.origin, self.identity.image, grid)
