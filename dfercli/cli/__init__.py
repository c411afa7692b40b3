"""The command line: parsing, printing and exit codes, one file per command."""
