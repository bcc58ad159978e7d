"""The commands there are."""

from cyclopts import App, Parameter

from volseg import __version__
from volseg.cli import compare, infer, prepare, report, train, tune

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
    prepare.prepare, prepare.stats, train.plan, train.train, tune.tune, tune.calibrate, infer.infer,
    infer.export, train.evaluate, compare.compare, report.report, train.submit, train.demo, prepare.phantom,
    train.options,
):  # fmt: skip
    app.command(command)
