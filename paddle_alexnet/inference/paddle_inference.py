"""Paddle Inference: an exported program and its weights."""

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

PROGRAMS = ("model.json", "model.pdmodel")  # of Paddle 3, of Paddle 2
WEIGHTS = "model.pdiparams"


def runs_here(files: Container[str]) -> bool:
    """Whether this Paddle reads the program among an exported folder's files."""
    return "model.json" not in files or PADDLE_MAJOR >= 3


class PaddleInference:
    """An exported program behind `paddle.inference`: image float32 [N, 3, S, S] to its output [N, C].

    `files` are the contents of the exported folder by name; what else lies there is not looked at. `onednn` and
    `precision`, one of `PRECISIONS`, are how a CPU computes; the ranges of `int8` are set by the activations of images,
    which `calibration` gives as the network gets them. Raises UserError, which calls the folder `source`, if the
    program or its weights are missing or of another Paddle, and where the processor or Paddle has not the precision.
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
            raise UserError(f"{source}: no model.pdmodel or model.json with {WEIGHTS} in it; export the model again")
        if not runs_here(files):  # it would crash
            raise UserError(
                f"{source / program}: exported by Paddle 3, this is {paddle.__version__}; install paddlepaddle>=3"
            )
        self.input_shape = check_program(program, files[program], source=source)
        check_weights(files, program, WEIGHTS, source=source)
        place = paddle.device.get_device()
        if fault := _cannot_compute(precision, program, place):
            raise UserError(f"{source}: precision {precision}: {fault}; take float32")
        config = inference.Config()
        config.disable_glog_info()
        if place.startswith("gpu"):
            config.enable_use_gpu(256, int(place.partition(":")[2]))
        else:
            config.set_cpu_math_library_num_threads(computing_threads())
            if not onednn:
                config.disable_mkldnn()
            else:
                config.delete_pass("repeated_fc_relu_fuse_pass")  # it takes linear layers away from oneDNN
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
                    config.switch_ir_optim(False)  # the program is what Paddle's passes have made of it
                    _set_model(config, _with_7_bit_weights(quantized.program().serialize_to_string()), files[WEIGHTS])
                self._predictor = _create(config, source)
        else:  # Paddle 3 reads its own form from files alone
            with quiet, tempfile.TemporaryDirectory() as folder:
                for name in (program, WEIGHTS):
                    Path(folder, name).write_bytes(files[name])
                config.set_model(str(Path(folder, program)), str(Path(folder, WEIGHTS)))
                self._predictor = _create(config, source)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        self._lock = threading.Lock()  # input, output and activations are one set: two threads at once end the process

    def __call__(self, image: np.ndarray) -> np.ndarray:
        with self._lock:
            self._input.copy_from_cpu(image)
            self._predictor.run()
            # It leaves the process with one thread; a training that goes on would be slower, and round otherwise.
            paddle.base.core.set_num_threads(computing_threads())
            return self._output.copy_to_cpu()


def _cannot_compute(precision: str, program: str, place: str) -> str:
    """Why the precision is not to be had, if it is not."""
    if precision != "float32" and place != "cpu":
        return f"it is for processors, and this is {place}"
    if precision == "bfloat16" and not paddle.base.core.supports_bfloat16():
        return "this processor does not compute with it"
    if precision == "int8" and not (PADDLE_MAJOR == 2 and program == "model.pdmodel"):
        return f"only Paddle 2 quantizes so, and this is {paddle.__version__}"
    return ""


def _quantize(config: inference.Config, calibration: np.ndarray) -> None:
    """Have Paddle look at the activations of images, float32 [N, 3, S, S], and compute with integers of 8 bits."""
    images = paddle.base.core.PaddleTensor()
    images.dtype, images.shape = paddle.base.core.PaddleDType.FLOAT32, list(calibration.shape)
    images.data = paddle.base.core.PaddleBuf(np.ascontiguousarray(calibration).reshape(-1))
    config.enable_quantizer()
    config.quantizer_config().set_quant_data([images])
    config.quantizer_config().set_quant_batch_size(len(calibration))


def _sums_in_32_bits() -> bool:
    """Return whether oneDNN multiplies 8-bit integers with VNNI here.

    Without VNNI it uses `vpmaddubsw`, which adds two products of an unsigned and a signed integer in 16 bits and cuts
    what does not fit: 2 × 255 × 127 is 64,770, and 32,767 is the largest. The bits are those of `dnnl_cpu_isa_t`:
    `avx2_vnni` and `avx512_core_vnni`. oneDNN itself is asked because ONEDNN_MAX_CPU_ISA limits it.
    """
    try:
        return bool(ctypes.CDLL("libdnnl.so.3").dnnl_get_effective_cpu_isa() & (0x8 | 0x40))
    except (OSError, AttributeError):  # another oneDNN; 7 bits are right everywhere
        return False


def _with_7_bit_weights(content: bytes) -> bytes:
    """Return a quantized program that halves the scale of its weights where oneDNN's 16-bit sums could overflow.

    With weights up to 64, 2 × 255 × 64 fits in 16 bits. oneDNN halves the weights of convolutions of signed integers
    by itself, but not of convolutions of unsigned ones, nor of linear layers, whose input it shifts by 128.
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
        raise UserError(f"{source}: Paddle cannot load it ({reason[:300]}): export the model again") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Without the lines that Paddle's passes for other precisions print, which nothing of its settings keeps back."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = os.dup(1), os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C++ has printed may still be in its buffer
        for number, stream_before in enumerate(kept, start=1):
            os.dup2(stream_before, number)
            os.close(stream_before)
