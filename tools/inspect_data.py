"""`python tools/inspect_data.py …` is `paddle-alexnet inspect-data …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["inspect-data", *sys.argv[1:]]))
