"""`volseg stats`: a prepared dataset in numbers, as a table, as JSON and as a page of charts.

All of it comes from the records of `volseg prepare`, so no voxel is read.
"""

from pathlib import Path

from volseg.data.dataset import FILE, Dataset
from volseg.errors import UserError
from volseg.preparation import records
from volseg.stats.aggregation import aggregate_fingerprints
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import render_statistics
from volseg.visualization.html_page import write_page

PAGE = "stats.html"


def stats(data: Path) -> DatasetStats:
    """The statistics of a prepared dataset.

    Raises:
        UserError: no dataset, none of its scans, or a scan without a record.
    """
    info = Dataset.load(data).facts
    if not info.samples:
        raise UserError(f"{data / FILE}: names no scan; run `volseg prepare` again")
    scans = records.read_all(data, [sample.name for sample in info.samples])
    return aggregate_fingerprints(info, [record.fingerprint for record in scans])


def write_stats_page(stats: DatasetStats, path: Path) -> None:
    """Write the page of charts.

    Raises:
        UserError: the path is a folder, or can't be written.
    """
    write_page(render_statistics(stats), path, usual=Path(PAGE))
