"""`python -m fluxcaption`."""

from fluxcaption.cli.main import main

if __name__ == "__main__":
    main()
