"""The command `volseg plan`."""

from volseg.arguments import PlanArguments
from volseg.cli import output
from volseg.errors import UserError
from volseg.system.files import write_text


def plan(*, options: PlanArguments = PlanArguments()) -> None:
    """Write a config that suits a prepared dataset and this machine, with the reason of each setting.

    A few steps of training are tried, so it takes a minute or more.
    """
    if options.out and options.out.exists() and not options.force:
        raise UserError(f"--out {options.out}: exists; name another file or pass --force")
    output.configure_console()
    from volseg.planning import plan as stage
    from volseg.planning import plan_text, tables

    result = stage.plan(options)
    text = plan_text.plan_yaml(result, options.data, options.out)
    output.print_table(tables.key_value_table(plan_text.plan_rows(result)), error=options.out is None)
    if options.out is None:
        print(text, end="")
        return
    write_text(options.out, text)
    print(f"{options.out}: train with `volseg train {options.out} --data {options.data}`")
