"""The choice of a grid: what its labels keep, what a patch sees of a scan, and how many scans are seen.

A finer grid keeps more of the labels; a coarser one lets a patch see more of a scan, and more scans be seen
in the same time. The promise of a grid is a rule of thumb, no forecast of a score: its ceiling (see
`label_ceiling`) to the power BORDER, times `sight_share`, times `learned_share`. Only how grids compare has
a meaning.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from volseg.formatting import format_size
from volseg.planning.label_ceiling import GridCeiling
from volseg.planning.network_design import NetworkDesign
from volseg.planning.target_grid import TargetGrid

BLIND_LOSS, SIGHT = 0.16, 0.12
"""Share of the score that is lost where a patch sees nothing of a scan, and the share of the scan that it
has to see for this to fall by a factor of e. At a quarter of the scan, from which on nnU-Net takes no coarser
grid, it costs about 2 %."""
UNLEARNED, LEARNING = 0.4, 0.5
"""Errors left after one scan as multiples of what is learned, and the power by which they fall with the scans
seen."""
BORDER = 1.5
"""Power of the ceiling: a network's own errors at borders grow with the voxels too, more than those of
labels, as its features are coarser than its voxels."""
NEARLY = 0.002
"""So little more is no reason to take a coarser grid, which loses details for good."""
CLASS_LOSS = 0.005
"""What a class may lose by a grid that promises more for the mean: no rule of thumb is more exact.

All these constants are judged by four comparisons of 11 abdominal MR. In 20 minutes on two cores a Dice of
0.81 was reached at 1.25 mm with 5 % of a scan in sight, and 0.875 at 2.5 mm with half of it; on one core
0.87 at 2.5 mm in 12 minutes, and 0.85 at 4 mm in 15; on faster cores and after about equal steps 0.896 at
2 mm with 45 % in sight, 0.884 at 1.25 mm with 14 % and 0.880 with 22 %. They leave small scans, and networks
on GPUs whose patch sees a quarter of a scan, on the finest grid; there is little room between the two.
"""


def sight_share(coverage: float) -> float:
    """The share of the score that is left where a patch covers this share of the median scan."""
    return 1 - BLIND_LOSS * math.exp(-coverage / SIGHT)


def learned_share(scans_seen: float) -> float:
    """The share of the score that is learned after so many scans' worth of voxels, 0 to 1.

    Errors fall as a power of what was seen, as learning curves do (Hestness et al. 2017).
    """
    return 1 / (1 + UNLEARNED * scans_seen**-LEARNING) if scans_seen > 0 else 0.0


@dataclass(frozen=True)
class GridOption:
    """A grid with the largest design that fits on it.

    `coverage` is the share of the median scan that a patch sees, `passes` how often a run sees each voxel of
    its `scans` training scans.
    """

    grid: TargetGrid
    ceiling: GridCeiling
    design: NetworkDesign
    scans: int
    passes: float

    @property
    def coverage(self) -> float:
        """The share of the median scan that a patch sees, 0 to 1."""
        return patch_coverage(self.design, self.grid)

    @property
    def gained_share(self) -> float:
        """What sight and time leave of any score on this grid, 0 to 1."""
        return sight_share(self.coverage) * learned_share(self.passes * self.scans)

    @property
    def promise(self) -> float:
        """The promise of the grid, 0 to 1, for the mean over classes."""
        return math.pow(self.ceiling.mean, BORDER) * self.gained_share

    def class_promise(self, name: str) -> float:
        """The promise of the grid for one class."""
        return math.pow(self.ceiling.classes[name], BORDER) * self.gained_share


def patch_coverage(design: NetworkDesign, grid: TargetGrid) -> float:
    """The share of the median scan on a grid that a patch covers."""
    return math.prod(min(1.0, n / whole) for n, whole in zip(design.patch, grid.shape, strict=True))


def count_passes(design: NetworkDesign, grid: TargetGrid, *, steps: float, scans: int) -> float:
    """How often a run of so many steps sees each voxel of its training scans, all of the median size."""
    return steps * design.batch * patch_coverage(design, grid) / scans


def losing_classes(option: GridOption, finest: GridOption) -> list[str]:
    """The classes that lose more by the labels on a grid than its patches gain, so that it is never taken."""
    names = finest.ceiling.classes
    return [name for name in names if option.class_promise(name) < finest.class_promise(name) - CLASS_LOSS]


def choose_option(options: Sequence[GridOption]) -> GridOption:
    """The option that promises most, from fine to coarse, of those on which no class loses.

    The first always is one; of nearly equal ones the finest is taken.
    """
    fair = [option for option in options if not losing_classes(option, options[0])]
    most = max(option.promise for option in fair)
    return next(option for option in fair if option.promise >= most - NEARLY)


def choice_reason(chosen: GridOption, options: Sequence[GridOption]) -> str:
    """Why a grid was chosen, in a line."""
    finest, most = options[0], max(options, key=lambda option: option.promise)
    seen = f"a patch sees {chosen.coverage:.0%} of the median scan"
    if chosen is not finest:
        lost = finest.ceiling.mean - chosen.ceiling.mean
        told = f"{seen}, {finest.coverage:.0%} at {finest.grid.spacing_text} mm"
        here, there = passes_text(chosen.passes), passes_text(finest.passes)
        passes = f"the run passes {here} times over the scans, {there} there"
        return f"{told}; {passes}; labels lose only {lost:.3f} Dice"
    if losing := losing_classes(most, finest):
        return f"{seen}; coarser voxels cost {losing[0]} more than patches that see more gain"
    return f"{seen}; coarser voxels promise no more"


def choice_table(chosen: GridOption, options: Sequence[GridOption]) -> list[str]:
    """The options as lines of aligned columns, a heading first; the chosen one is marked."""
    heading = ("grid in mm", "ceiling", "worst class", "patch", "sees", "passes", "promise")
    rows = [heading, *(_option_cells(option, chosen, options[0]) for option in options)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows]


def passes_text(passes: float) -> str:
    """A number of passes: 0.57, 11.4, 42,300."""
    return f"{passes:.3g}" if passes < 100 else f"{passes:,.0f}"


def _option_cells(option: GridOption, chosen: GridOption, finest: GridOption) -> tuple[str, ...]:
    ceiling, losing = option.ceiling, losing_classes(option, finest)
    worst = f"{ceiling.classes[ceiling.worst]:.3f} {ceiling.worst}" if ceiling.classes else "none"
    mark = f" but {losing[0]} loses" if losing and option.promise > chosen.promise else ""
    mark = " chosen" if option is chosen else mark
    return (
        option.grid.spacing_text,
        f"{ceiling.mean:.3f}",
        worst,
        format_size(option.design.patch),
        f"{option.coverage:.0%}",
        passes_text(option.passes),
        f"{option.promise:.3f}{mark}",
    )
