"""Where the `dfer` command begins.

Each worker process imports the script of the command again, and with it this module alone: what
parses the command line is imported once the command runs.
"""


def main() -> None:
    """Run the command line and exit with its code."""
    from dfercli.cli.app import main as run_command

    run_command()
