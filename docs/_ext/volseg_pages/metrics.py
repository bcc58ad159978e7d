"""The metrics, by the classes that compute them and the table of their module."""

import inspect

from volseg import metrics
from volseg_pages import markdown


def metric_table() -> str:
    """A row a column of scores.csv."""
    rows = (
        (markdown.code(metric.column_name), metric.unit or "1", markdown.text(inspect.getdoc(metric) or ""))
        for metric in metrics.DEFAULT
    )
    return markdown.table(("name", "unit", "definition"), rows)


def empty_mask_table() -> str:
    """What each gives where a mask is empty, as the module of metrics says it."""
    lines = [line for line in (metrics.__doc__ or "").splitlines() if line.startswith("|")]
    if not lines:
        raise ValueError("volseg.metrics: its docstring has no table of empty masks any more")
    return "\n".join(lines)
