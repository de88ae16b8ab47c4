"""``python -m mssctl``."""

from mssctl.cli.app import main

if __name__ == "__main__":
    main()
