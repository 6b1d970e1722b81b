"""Dependencies and extras; the other metadata are in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """A wheel holds the recipes of configs/ too; in a checkout they are read where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib, "paddle_alexnet", "configs"), dirs_exist_ok=True)


setup(
    cmdclass={"build_py": BuildWithRecipes},
    install_requires=[
        "jinja2",  # the pages of a run; VisualDL's Flask brings it in any case
        "matplotlib",
        # Below 2.0.2 pandas 3 does not run; from 2.3 on `import paddle, numpy.random` crashes (Paddle 2.6.2).
        "numpy>=2.0.2,<2.3",
        "pandas",
        "pillow",
        "protobuf<7",  # Paddle 2.6.2's fleet settings fail on 7
        "pydantic>=2",
        "ruamel.yaml>=0.18",
        # `import paddle` needs it and Python 3.12 no longer brings it. Paddle 2.6.2 uses its easy_install,
        # by now a deprecated stub: 84 is the newest release seen to work.
        "setuptools<85",
        "tqdm",
        "visualdl>=2.5.3",
    ],
    extras_require={
        "cpu": ["paddlepaddle>=2.6.2,<3"],
        # The wheel is built for CUDA 11.8 and cuDNN 8.6 and brings neither. The releases below are those;
        # paddle_alexnet/system/cuda_libraries.py lets Paddle find them.
        "gpu": [
            "paddlepaddle-gpu>=2.6.2,<3",
            "nvidia-cublas-cu11==11.11.3.6; sys_platform == 'linux'",
            "nvidia-cuda-nvrtc-cu11==11.8.89; sys_platform == 'linux'",
            "nvidia-cudnn-cu11==8.6.0.163; sys_platform == 'linux'",
            "nvidia-cufft-cu11==10.9.0.58; sys_platform == 'linux'",
            "nvidia-curand-cu11==10.3.0.86; sys_platform == 'linux'",
            "nvidia-cusolver-cu11==11.4.1.48; sys_platform == 'linux'",
            "nvidia-cusparse-cu11==11.7.5.86; sys_platform == 'linux'",
            "nvidia-nccl-cu11==2.16.5; sys_platform == 'linux'",  # between several GPUs
        ],
        # CPU only: Paddle 3's GPU wheels are not on PyPI.
        "paddle3": ["paddlepaddle>=3.3,<4"],
        # `build-kernels`: headers of the oneDNN in Paddle's wheel; data.decoder=simplejpeg
        "fast": ["onednn-devel-cpu-iomp==2023.2.0", "simplejpeg"],
        "heic": ["pillow-heif"],  # photographs of iPhones
        "inspect": ["simplejpeg"],  # finds damaged data in JPEG files
        "serve": [
            "fastapi",
            "prometheus-client",
            "python-multipart>=0.0.13",
            "uvicorn",
            "uvloop; sys_platform != 'win32'",
        ],
        "completion": ["shtab"],  # `completion bash`
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.26", "ruff"],  # `make docs`
        "dev": [
            "import-linter>=2",
            "mypy>=1.19,<3",
            "pandas-stubs; python_version >= '3.10'",  # the last ones for 3.9 describe another pandas
            "pre-commit",
            "ruff>=0.17.6,<0.18",
            "shtab",
            "types-tqdm",
            "wheel",  # a test builds one without the network
        ],
        "test": ["pytest", "pytest-xdist"],  # `make test`
        "onnx": ["onnx", "onnxruntime"],  # `export --to onnx`, and to predict with what it writes
        "torch": ["torch"],  # `benchmark network --against torch`
        "keras": ["h5py"],  # weights of Keras, .h5 and .keras
        "parity": ["torch", "torchvision", "opencv-python-headless", "tensorflow-cpu", "safetensors", "h5py"],
    },
)
