"""The command `volseg phantom`."""

from pathlib import Path

from volseg.cli import output


def phantom(
    out: Path,
    /,
    *,
    cases: int = 16,
    days: int = 3,
    full_size: bool = False,
    like_kaggle: bool = False,
    seed: int = 0,
) -> None:
    """Write a synthetic dataset in the raw layout, case123 among its cases.

    Args:
        out: A new or empty folder.
        cases: How many labelled patients.
        days: How many scans each has.
        full_size: Slices of the real sizes instead of small ones.
        like_kaggle: As many cases, days and slices as the competition's training set, in its sizes: 2.2 GB.
        seed: The same seed gives the same dataset.
    """
    output.configure_console()
    from volseg.data.phantom import write_like_kaggle, write_phantom

    if like_kaggle:
        dataset = write_like_kaggle(out, seed=seed)
    else:
        dataset = write_phantom(out, cases=cases, days=days, full_size=full_size, seed=seed)
    print(f"{out}: {dataset.scans} labelled and {dataset.test_scans} test scans, {dataset.slices} slices")
