"""`python tools/ablate.py …` is `paddle-alexnet ablate …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["ablate", *sys.argv[1:]]))
