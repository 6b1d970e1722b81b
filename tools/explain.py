"""`python tools/explain.py …` is `paddle-alexnet explain …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["explain", *sys.argv[1:]]))
