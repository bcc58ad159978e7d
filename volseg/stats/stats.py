"""`volseg stats`: a prepared dataset in numbers, as a table, as JSON and as a page of plots.

All of it comes from what `volseg prepare` measured, so no voxel is read.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.dataset import FILE, Dataset
from volseg.errors import UserError
from volseg.preparation import records
from volseg.stats.aggregation import statistics
from volseg.stats.dataset_stats import Statistics
from volseg.stats.page import stats_page
from volseg.visualization import html_page

if TYPE_CHECKING:
    pass

PAGE = "stats.html"


def stats(data: Path) -> Statistics:
    """The statistics of a prepared dataset.

    Raises:
        UserError: no dataset, none of its scans, or a scan without a record.
    """
    facts = Dataset.load(data).facts
    if not facts.samples:
        raise UserError(f"{data / FILE}: names no scan; run `volseg prepare` again")
    found = records.all_of(data, [sample.name for sample in facts.samples])
    return statistics(facts, [record.fingerprint for record in found])


def write(found: Statistics, path: Path) -> None:
    """Write the page of plots.

    Raises:
        UserError: the path is a folder, or can't be written.
    """
    html_page.write(stats_page(found), path, usual=Path(PAGE))
