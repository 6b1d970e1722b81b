"""Run `paddle-alexnet train` from a checkout, also under `python -m paddle.distributed.launch`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
