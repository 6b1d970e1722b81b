"""`python tools/compare.py …` is `paddle-alexnet compare …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
