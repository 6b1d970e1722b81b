"""`python tools/convert_weights.py …` is `paddle-alexnet convert-weights …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["convert-weights", *sys.argv[1:]]))
