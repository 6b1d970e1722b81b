"""`python tools/evaluate.py …` is `paddle-alexnet evaluate …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
