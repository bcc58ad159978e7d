"""The command line's application with all its commands."""

from cyclopts import App, Parameter

from volseg import __version__
from volseg.cli import (
    calibrate,
    compare,
    contours,
    demo,
    evaluate,
    export,
    infer,
    node,
    options,
    phantom,
    plan,
    prepare,
    report,
    stats,
    status,
    submit,
    train,
    tune,
    view,
)

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
    prepare.prepare, stats.stats, plan.plan, train.app, tune.tune, calibrate.calibrate, infer.infer,
    status.status, export.export, view.view, evaluate.evaluate, compare.compare, report.report,
    submit.submit, contours.contours, node.node, demo.demo, phantom.phantom, options.options,
):  # fmt: skip
    app.command(command)
