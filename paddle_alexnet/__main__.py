"""`python -m paddle_alexnet` is the command `paddle-alexnet`."""

import sys

from paddle_alexnet.commands.main import main

sys.exit(main())
