"""The package itself: lazy names, and what is set before Paddle is imported."""

import importlib
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec

import pytest
from helpers import REPOSITORY

import paddle_alexnet


def python(code: str, **variables: str) -> str:
    """What code prints in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment.update(variables, PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="ignore")  # of Paddle 3: no ccache
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_import_is_lazy_and_every_public_name_is_there():
    loaded = "import sys, paddle_alexnet as a; print([m for m in ('numpy', 'paddle', 'pydantic') if m in sys.modules])"
    assert python(loaded) == "[]"
    for name in paddle_alexnet.__all__:
        assert name in dir(paddle_alexnet)
        assert getattr(paddle_alexnet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = paddle_alexnet.trian


def test_no_public_name_hides_a_module():
    for name in paddle_alexnet.__all__:
        assert find_spec(f"paddle_alexnet.{name}") is None
    importlib.import_module("paddle_alexnet.training.trainer")
    assert callable(paddle_alexnet.train)


def test_importing_paddle_is_quiet_and_leaves_sigterm_alone():
    code = (
        "import signal, sys, paddle_alexnet; h = lambda *a: print('mine'); signal.signal(signal.SIGTERM, h); "
        "import paddle, os; os.kill(os.getpid(), signal.SIGTERM); print(int(os.environ['OMP_NUM_THREADS']) >= 1)"
    )
    assert python(code).splitlines() == ["mine", "True"]


def test_importing_paddle_leaves_the_root_logger_alone():
    code = "import logging, paddle_alexnet.system.bootstrap; r = logging.root; before = r.handlers[:], r.level; "
    assert python(code + "import paddle; print((r.handlers, r.level) == before)") == "True"


def test_environment_variables_of_the_user_stay():
    code = "import os, paddle_alexnet; print(os.environ['OMP_NUM_THREADS'], os.environ['GLOG_minloglevel'])"
    assert python(code, OMP_NUM_THREADS="1", GLOG_minloglevel="0") == "1 0"


def test_paddle_is_found_as_before():
    spec = find_spec("paddle")
    assert spec.origin.endswith("__init__.py")
    assert pickle.loads(pickle.dumps(spec)).origin == spec.origin
    assert find_spec("paddle_that_is_not_there") is None
    assert python("import paddle, paddle_alexnet; print(paddle_alexnet.AlexNet.__name__)", OMP_NUM_THREADS="1") == (
        "AlexNet"
    )


def test_paddle_imported_first_leaves_zlib_working(tmp_path):
    code = (
        "import paddle, paddle_alexnet\n"
        "import gzip, io, zlib, numpy as np\nfrom PIL import Image\n"
        "print(zlib.crc32(b'123456789'), zlib.decompress(zlib.compress(b'z' * 999)) == b'z' * 999)\n"
        "print(gzip.decompress(gzip.compress(b'gzip')))\n"
        "image = Image.new('RGB', (9, 9), (1, 2, 3))\n"
        "image.save('x.png'); print(Image.open('x.png').getpixel((8, 8)))\n"
        "np.savez_compressed('x.npz', a=np.arange(9)); print(np.load('x.npz')['a'].sum())\n"
    )
    assert python(f"import os; os.chdir({str(tmp_path)!r})\n{code}").splitlines() == [
        f"{0xCBF43926} True",  # the check value of CRC-32
        "b'gzip'",
        "(1, 2, 3)",
        "36",
    ]


def test_import_of_training_loads_no_room_before_it_is_needed():
    program = (
        "import sys, paddle_alexnet.training.trainer\n"
        "for name, module in sys.modules.items():\n"
        "    if name.startswith('paddle_alexnet.') and not hasattr(module, '__path__'): print(name)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    rooms = ("datasets", "report", "weights", "export", "plots", "inference", "service", "explain", "commands")
    assert not [name for name in loaded if name.split(".")[1] in rooms]
    assert len(loaded) <= 55
