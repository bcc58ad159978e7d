"""The command line's application with all its commands."""

from cyclopts import App, Group, Parameter

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
from volseg.cli.help import default_text, prose, show_panel

app = App(
    name="volseg",
    help="Outlines of organs from stacks of MR slices. A research tool, not a medical device.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=(), show_default=default_text),
    help_formatter=show_panel,
    help_format="plaintext",  # rich.markdown takes 80 ms to load
)

COMMANDS = {
    "Data": (prepare.prepare, stats.stats),
    "Training": (train.app, plan.plan, tune.tune, calibrate.calibrate, export.export),
    "Prediction": (infer.infer, status.status, view.view, contours.contours, node.node, submit.submit),
    "Scores": (evaluate.evaluate, report.report, compare.compare),
    "To begin with": (demo.demo, phantom.phantom, options.options),
}
"""All commands in groups, what is used most first."""

for place, (name, commands) in enumerate(COMMANDS.items()):
    group = Group(name, sort_key=place)
    for rank, command in enumerate(commands):
        if isinstance(command, App):
            command.group, command.sort_key = group, rank
            app.command(command)
        else:
            app.command(command, group=group, sort_key=rank, help=prose(command))
for rank, name in enumerate(("--help", "--version")):
    app[name].group, app[name].sort_key = group, len(commands) + rank
app.register_install_completion_command(
    group=group, sort_key=len(commands) + 2, help="Complete commands and options by Tab in your shell."
)
