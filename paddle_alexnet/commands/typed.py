"""Commands as a person can type them in the shell that this one was started from."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def typed(verb: str, *words: object) -> str:
    """The command line of a verb, started as this process was: a script of `tools/`, the command, or `python -m`."""
    started = Path(sys.argv[0])
    if started.suffix == ".py" and started.parent.name == "tools":
        program = [_shown(sys.executable), str(started.with_name(f"{verb.replace('-', '_')}.py"))]
    elif started.name == "paddle-alexnet":
        program = [_shown(sys.argv[0]), verb]
    else:
        program = [_shown(sys.executable), "-m", "paddle_alexnet", verb]
    return shlex.join([*program, *map(str, words)])


def typed_module(module: str, *words: object) -> str:
    """The command line of a module that this Python can run."""
    return shlex.join([_shown(sys.executable), "-m", module, *map(str, words)])


def _shown(program: str) -> str:
    """A program's bare name where a shell finds it by that, else its path, from here where it lies below."""
    path = Path(program).absolute()
    found = shutil.which(path.name)
    if found and Path(found).absolute() == path:
        return path.name
    return os.path.relpath(path) if Path.cwd() in path.parents else str(path)
