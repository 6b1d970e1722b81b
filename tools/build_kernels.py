"""`python tools/build_kernels.py …` is `paddle-alexnet build-kernels …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["build-kernels", *sys.argv[1:]]))
