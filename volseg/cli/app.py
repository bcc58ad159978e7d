"""The commands there are."""

from cyclopts import App, Parameter

from volseg import __version__
from volseg.cli import compare, data, infer, model, refine, report

app = App(
    name="volseg",
    help="Outlines of organs from stacks of MR slices. A research tool, not a medical device.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=()),
    help_format="plaintext",  # rich.markdown takes 80 ms to load
)

for command in (
    data.prepare, data.stats, model.plan, model.train, refine.tune, refine.calibrate, infer.infer,
    infer.export, model.evaluate, compare.compare, report.report, model.submit, model.demo, data.phantom,
    model.options,
):  # fmt: skip
    app.command(command)
