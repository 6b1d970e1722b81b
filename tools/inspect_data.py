"""Run `paddle-alexnet inspect-data` from a checkout."""

from _subcommand import run

if __name__ == "__main__":
    run()
