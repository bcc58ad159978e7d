"""The search for a grid and the largest design on it: ceilings of all grids, and few trials."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from volseg.arguments import NetworkName
from volseg.config.config import Config, validate_values
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.intensity_scaling import Percentiles
from volseg.data.splits import FOLDS
from volseg.planning import target_grid
from volseg.planning.design_trials import DesignTrials
from volseg.planning.grid_choice import GridOption, choice_reason, choose_option, count_passes
from volseg.planning.label_ceiling import GridCeiling, measure_ceilings
from volseg.planning.network_design import BATCH_SHARE, NetworkDesign, candidate_designs
from volseg.planning.resource_estimate import ResourceEstimate
from volseg.planning.target_grid import TargetGrid
from volseg.planning.training_settings import choose_augmentation
from volseg.stats.scan_stats import ScanStats
from volseg.training.validation_schedule import SHARE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GridChoice:
    """The grids that were compared, from fine to coarse, and the chosen one, as far as it was measured."""

    options: tuple[GridOption, ...]
    chosen: GridOption

    @property
    def reason(self) -> str:
        """Why this grid was chosen, in a line."""
        return choice_reason(self.chosen, self.options)


@dataclass(frozen=True)
class GridSearch:
    """What a grid is chosen for: a dataset's labelled scans, a kind of network, and the trials to be made.

    `base` has the settings that depend on no grid.
    """

    base: Config
    dataset: Dataset
    scans: Sequence[ScanStats]
    network: NetworkName
    trials: DesignTrials

    def choose(self) -> tuple[GridChoice, ResourceEstimate]:
        """The grid that promises most, and the estimate of the largest design on it that fits.

        Two trials on the finest grid tell the memory and time of a step by its voxels, which are expected to
        be the same on the others. What is chosen is then tried.

        Raises:
            UserError: none fits, or labels that can't be read.
        """
        grids = target_grid.coarser_grids(target_grid.choose_grid(self.scans))
        ceilings = self._measure_ceilings(grids)
        designs = [self._designs(grid) for grid in grids]
        self.trials.measure_steps(self._config_on(grids[0]), designs[0])
        fitting = [self.trials.guess_design(ladder) for ladder in designs]
        options = [self._option(*one) for one in zip(grids, ceilings, fitting, strict=True)]
        number = options.index(choose_option(options))
        estimate = self.trials.choose_largest(self._config_on(grids[number]), designs[number])
        options[number] = self._measured(options[number], estimate)
        return GridChoice(tuple(options), options[number]), estimate

    def reasons(self, choice: GridChoice) -> dict[str, str]:
        """The reasons of the settings that go by the grid and the number of scans."""
        grid = choice.chosen.grid
        _, reasons = self._augmentation(grid)
        return {**reasons, "data.spacing_mm": f"{grid.reason}; {choice.reason}"}

    def _augmentation(self, grid: TargetGrid) -> tuple[dict[str, object], dict[str, str]]:
        """The settings of `augment` for a grid, and their reasons; MR alone is scaled by percentiles."""
        ct = not isinstance(self.base.data.intensity, Percentiles)
        return choose_augmentation(self._training_scans, self.dataset.classes, grid.spacing_mm, ct=ct)

    @property
    def _training_scans(self) -> int:
        count = len(self.scans)
        return count if self.base.data.split == "none" else max(1, round(count * (FOLDS - 1) / FOLDS))

    def _measure_ceilings(self, grids: Sequence[TargetGrid]) -> list[GridCeiling]:
        samples = [self.dataset.select_samples(scan.name)[0] for scan in self.scans]
        ceilings = measure_ceilings(self.dataset, samples, [grid.spacing_mm for grid in grids])
        log.info(
            "labels of %d of %d scans taken to %d grids and back", ceilings[0].scans, len(samples), len(grids)
        )
        return ceilings

    def _config_on(self, grid: TargetGrid) -> Config:
        settings, _ = self._augmentation(grid)
        values = self.base.to_values()
        values["data"]["spacing_mm"] = grid.spacing_mm
        values["augment"] |= settings
        return validate_values(values, "plan")

    def _designs(self, grid: TargetGrid) -> list[NetworkDesign]:
        """Designs on a grid, from large to small; on a CPU batches don't grow: more steps learn more."""
        narrow = not self.trials.budget.gpu
        most = 0 if narrow else int(BATCH_SHARE * len(self.scans) * grid.voxels)
        return candidate_designs(self.network, grid.shape, grid.spacing_mm, narrow=narrow, most=most)

    def _option(self, grid: TargetGrid, ceiling: GridCeiling, design: NetworkDesign) -> GridOption:
        steps = self._steps(self.trials.step_seconds(design))
        scans = self._training_scans
        return GridOption(grid, ceiling, design, scans, count_passes(design, grid, steps=steps, scans=scans))

    def _measured(self, option: GridOption, estimate: ResourceEstimate) -> GridOption:
        """An option with the design that was tried on it, and its time."""
        config, steps = estimate.config, self._steps(estimate.measurements.alone_seconds)
        design = NetworkDesign(config.network, config.train.patch, config.train.batch)
        passes = count_passes(design, option.grid, steps=steps, scans=option.scans)
        return replace(option, design=design, passes=passes)

    def _steps(self, seconds: float | None) -> float:
        """The steps of a run whose steps take so long; 0 where time is limited and no trial was measured."""
        limit = self.trials.budget.seconds
        if limit is None:
            return self.base.train.steps
        return (1 - SHARE) * limit / seconds if seconds else 0.0
