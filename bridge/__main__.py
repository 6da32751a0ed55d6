"""`python -m bridge` is `sosbridge`."""

from bridge.cli import main

if __name__ == "__main__":
    main()
