"""`python -m mnistry`: the command line."""

from mnistry.cli import main

main()
