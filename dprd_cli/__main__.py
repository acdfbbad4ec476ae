"""`python -m dprd_cli` is `dprd`."""

from dprd_cli.cli import main

if __name__ == "__main__":
    main()
