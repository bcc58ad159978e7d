"""The command `volseg options`."""


def options(kind: str | None = None, /) -> None:
    """List the components a config can name and their settings.

    Args:
        kind: One of network, loss, optimizer, intensity, step, layout, metric; all by default.
    """
    from volseg.components import component_lines

    for line in component_lines(kind):
        print(line)
