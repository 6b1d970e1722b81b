"""Run `paddle-alexnet train` from a checkout, also under `python -m paddle.distributed.launch`."""

from _subcommand import run

if __name__ == "__main__":
    run()
