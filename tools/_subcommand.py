"""Run the subcommand that a script is named after: `prepare_data.py` is `paddle-alexnet prepare-data`."""

import sys
from pathlib import Path

from paddle_alexnet.commands.main import main


def run() -> None:
    """Run it with the command line of this process, and exit."""
    sys.exit(main([Path(sys.argv[0]).stem.replace("_", "-"), *sys.argv[1:]]))
