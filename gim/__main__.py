"""`python -m gim` is `gim`."""

from gim.cli.main import main

main()
