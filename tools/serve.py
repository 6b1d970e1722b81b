"""`python tools/serve.py …` is `paddle-alexnet serve …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
