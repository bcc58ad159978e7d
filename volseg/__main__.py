"""`python -m volseg` is the command `volseg`."""

from volseg.cli import main

if __name__ == "__main__":
    main()
