"""`python tools/prepare_data.py …` is `paddle-alexnet prepare-data …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["prepare-data", *sys.argv[1:]]))
