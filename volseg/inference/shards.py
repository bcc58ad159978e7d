"""Shares of the scans for several processes, which need not know of each other."""

from collections.abc import Sequence

from volseg.arguments import Shard
from volseg.inference.scan_sources import ScanSource


def scans_of_shard(sources: Sequence[ScanSource], shard: Shard) -> list[ScanSource]:
    """The scans of one share, in their order.

    Each case, the largest first, goes to the share that has the fewest voxels so far: whatever was predicted
    already, each process finds the same. Days of a case stay together, as they are compared.
    """
    voxels: dict[str, int] = {}
    for source in sources:
        voxels[_case_of(source)] = voxels.get(_case_of(source), 0) + source.voxels
    given, owner = [0] * shard.of, {}
    for case in sorted(voxels, key=lambda case: (-voxels[case], case)):
        owner[case] = given.index(min(given))
        given[owner[case]] += max(1, voxels[case])
    return [source for source in sources if owner[_case_of(source)] == shard.number]


def _case_of(source: ScanSource) -> str:
    return source.case or source.name
