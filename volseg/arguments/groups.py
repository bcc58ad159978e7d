"""The groups of options in the help of commands with many, in the order in which they are shown."""

from cyclopts import Group, Parameter


def _options_of(name: str, place: int) -> Parameter:
    return Parameter(group=Group(name, sort_key=place))


WHAT = _options_of("What", 1)
BY_WHAT = _options_of("By what", 2)
OUTPUT = _options_of("Output", 3)
QUALITY = _options_of("Quality and time", 4)
MACHINE = _options_of("Machine", 5)
SPECIAL = _options_of("Odd input", 6)
