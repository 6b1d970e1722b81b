"""`python tools/summary.py …` is `paddle-alexnet summary …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["summary", *sys.argv[1:]]))
