"""`python tools/benchmark.py …` is `paddle-alexnet benchmark …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
