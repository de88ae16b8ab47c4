"""``python -m mssctl``."""

from __future__ import annotations

from mssctl.cli.app import main

if __name__ == "__main__":
    main()
