"""The command `volseg options`."""


def options(kind: str | None = None, /) -> None:
    """List what a config can hold and name, that of other packages included.

    Args:
        kind: One of data, augment, train, inference (settings), network, loss, optimizer, intensity, step,
            layout, metric, engine (components and their settings); all by default.
    """
    from volseg.components import option_lines

    for line in option_lines(kind):
        print(line)
