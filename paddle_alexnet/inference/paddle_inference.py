"""Paddle Inference, in float32, bfloat16 and int8."""

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle import inference
from paddle.base.proto import framework_pb2

from paddle_alexnet.inference.program_check import check_program, check_weights
from paddle_alexnet.network.lrn import PADDLE_MAJOR
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import computing_threads

PROGRAMS = ("model.json", "model.pdmodel")  # written by Paddle 3, by Paddle 2
WEIGHTS = "model.pdiparams"


def runs_here(files: Container[str]) -> bool:
    """Return whether this Paddle reads the program of an exported folder, given its file names."""
    return "model.json" not in files or PADDLE_MAJOR >= 3


class PaddleInference:
    """An exported program in `paddle.inference`: images float32 [N, 3, S, S] to its output [N, C].

    Args:
        files: Contents of the exported folder by file name.
        source: Path of the folder, for errors.
        onednn: Whether a CPU uses oneDNN.
        precision: One of `PRECISIONS`; all but float32 are for CPUs.
        calibration: Returns the images, float32 [N, 3, S, S], whose activations set the ranges of int8.

    Raises:
        UserError: The program or its weights are missing, damaged or written by another Paddle, or the processor or
            Paddle lacks the precision.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        source: Path,
        onednn: bool = True,
        precision: str = "float32",
        calibration: Optional[Callable[[], np.ndarray]] = None,
    ) -> None:
        program = next((name for name in PROGRAMS if name in files), None)
        if program is None or WEIGHTS not in files:
            raise UserError(f"{source}: model.pdmodel or model.json with {WEIGHTS} not found; export the model again")
        if not runs_here(files):  # Paddle 2 would crash
            raise UserError(
                f"{source / program}: requires Paddle 3, this is {paddle.__version__}; install paddlepaddle>=3"
            )
        self.input_shape = check_program(program, files[program], source=source)
        check_weights(files, program, WEIGHTS, source=source)
        place = paddle.device.get_device()
        if fault := _cannot_compute(precision, program, place):
            raise UserError(f"{source}: precision {precision} {fault}; use float32")
        config = inference.Config()
        config.disable_glog_info()
        if place.startswith("gpu"):
            config.enable_use_gpu(256, int(place.partition(":")[2]))
        else:
            config.set_cpu_math_library_num_threads(computing_threads())
            if not onednn:
                config.disable_mkldnn()
            else:
                config.delete_pass("repeated_fc_relu_fuse_pass")  # the pass takes linear layers away from oneDNN
                if precision == "bfloat16":
                    config.enable_mkldnn_bfloat16()
                elif precision == "int8":
                    assert calibration is not None
                    _quantize(config, calibration())
        quiet = nullcontext() if precision == "float32" else _silent()
        if program == "model.pdmodel":
            _set_model(config, files[program], files[WEIGHTS])
            with quiet:
                if precision == "int8" and not _sums_in_32_bits():
                    quantized = _create(config, source, paddle.base.core.create_paddle_predictor)
                    config = inference.Config()
                    config.disable_glog_info()
                    config.set_cpu_math_library_num_threads(computing_threads())
                    config.switch_ir_optim(False)  # the passes have run already
                    _set_model(config, _with_7_bit_weights(quantized.program().serialize_to_string()), files[WEIGHTS])
                self._predictor = _create(config, source)
        else:  # Paddle 3 reads its own format only from files
            with quiet, tempfile.TemporaryDirectory() as folder:
                for name in (program, WEIGHTS):
                    Path(folder, name).write_bytes(files[name])
                config.set_model(str(Path(folder, program)), str(Path(folder, WEIGHTS)))
                self._predictor = _create(config, source)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        self._lock = threading.Lock()  # two threads at once would share the buffers and crash

    def __call__(self, image: np.ndarray) -> np.ndarray:
        with self._lock:
            self._input.copy_from_cpu(image)
            self._predictor.run()
            # `run` leaves the process with one thread, which would slow later training and change its rounding.
            paddle.base.core.set_num_threads(computing_threads())
            return self._output.copy_to_cpu()


def _cannot_compute(precision: str, program: str, place: str) -> str:
    """Return why a precision is not available, or an empty string."""
    if precision != "float32" and place != "cpu":
        return f"requires the CPU, this is {place}"
    if precision == "bfloat16" and not paddle.base.core.supports_bfloat16():
        return "is not supported by this processor"
    if precision == "int8" and not (PADDLE_MAJOR == 2 and program == "model.pdmodel"):
        return f"requires Paddle 2, this is {paddle.__version__}"
    return ""


def _quantize(config: inference.Config, calibration: np.ndarray) -> None:
    """Enable int8, with ranges calibrated on the activations of images, float32 [N, 3, S, S]."""
    images = paddle.base.core.PaddleTensor()
    images.dtype, images.shape = paddle.base.core.PaddleDType.FLOAT32, list(calibration.shape)
    images.data = paddle.base.core.PaddleBuf(np.ascontiguousarray(calibration).reshape(-1))
    config.enable_quantizer()
    config.quantizer_config().set_quant_data([images])
    config.quantizer_config().set_quant_batch_size(len(calibration))


def _sums_in_32_bits() -> bool:
    """Return whether oneDNN multiplies 8-bit integers with VNNI here.

    Without VNNI it uses `vpmaddubsw`, which saturates the sum of two products at 16 bits: 2 × 255 × 127 is 64,770, and
    the limit is 32,767. The bits are `avx2_vnni` and `avx512_core_vnni` of `dnnl_cpu_isa_t`. We ask oneDNN, not the
    processor, because ONEDNN_MAX_CPU_ISA limits oneDNN.
    """
    try:
        return bool(ctypes.CDLL("libdnnl.so.3").dnnl_get_effective_cpu_isa() & (0x8 | 0x40))
    except (OSError, AttributeError):  # another oneDNN; 7 bits are right everywhere
        return False


def _with_7_bit_weights(content: bytes) -> bytes:
    """Return a quantized program that halves the scale of its weights where oneDNN's 16-bit sums could overflow.

    Weights up to 64 fit: 2 × 255 × 64 is below 32,767. oneDNN halves the weights of convolutions of signed integers
    by itself, but not of convolutions of unsigned integers, nor of linear layers, whose input it shifts by 128.
    """
    program = framework_pb2.ProgramDesc.FromString(content)
    unsigned: set[str] = set()  # variables of 8 bits without a sign: the outputs of ReLU, also after pooling
    for operator in program.blocks[0].ops:
        attributes = {attribute.name: attribute for attribute in operator.attrs}
        outputs = [name for output in operator.outputs for name in output.arguments]
        of_unsigned = any(name in unsigned for entry in operator.inputs for name in entry.arguments)
        if scales := attributes.get("Scale_weights"):
            if of_unsigned or operator.type == "fc":
                scales.floats[:] = [scale / 2 for scale in scales.floats]
            activation = attributes.get("fuse_activation") or attributes.get("activation_type")
            if activation and activation.s == "relu":
                unsigned.update(outputs)
        elif operator.type == "quantize":
            if not attributes["is_negative_input"].b:
                unsigned.update(outputs)
        elif operator.type == "pool2d" and of_unsigned:
            unsigned.update(outputs)
    result: bytes = program.SerializeToString()
    return result


def _set_model(config: inference.Config, program: bytes, weights: bytes) -> None:
    config.set_model_buffer(program, len(program), weights, len(weights))


def _create(
    config: inference.Config, source: Path, create: Callable[[inference.Config], Any] = inference.create_predictor
) -> Any:
    try:
        return create(config)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or [""])[-1].strip()
        raise UserError(f"{source}: is unreadable for Paddle ({reason[:300]}); export the model again") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress the output of Paddle's passes for other precisions, which no setting of Paddle silences."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = os.dup(1), os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C++ may still buffer its output
        for number, stream_before in enumerate(kept, start=1):
            os.dup2(stream_before, number)
            os.close(stream_before)
