"""`python tools/doctor.py …` is `paddle-alexnet doctor …`."""

import sys

from paddle_alexnet.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["doctor", *sys.argv[1:]]))
