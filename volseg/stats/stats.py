"""`volseg stats`: a prepared dataset in numbers, as a table, as JSON and as a page of plots.

All of it comes from what `volseg prepare` measured, so no voxel is read.
"""

from pathlib import Path

from volseg.data.dataset import FILE, Dataset
from volseg.errors import UserError
from volseg.preparation import records
from volseg.stats.aggregation import aggregate_fingerprints
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import render_statistics
from volseg.visualization import html_page

PAGE = "stats.html"


def stats(data: Path) -> DatasetStats:
    """The statistics of a prepared dataset.

    Raises:
        UserError: no dataset, none of its scans, or a scan without a record.
    """
    facts = Dataset.load(data).facts
    if not facts.samples:
        raise UserError(f"{data / FILE}: names no scan; run `volseg prepare` again")
    found = records.read_all(data, [sample.name for sample in facts.samples])
    return aggregate_fingerprints(facts, [record.fingerprint for record in found])


def write_stats_page(found: DatasetStats, path: Path) -> None:
    """Write the page of plots.

    Raises:
        UserError: the path is a folder, or can't be written.
    """
    html_page.write_page(render_statistics(found), path, usual=Path(PAGE))
