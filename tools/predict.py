"""`python tools/predict.py …` is `paddle-alexnet predict …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
