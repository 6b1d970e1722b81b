"""Paddle Inference: an exported program and its weights."""

import os
from pathlib import Path

import numpy as np
import paddle
from paddle import inference

from paddle_alexnet.errors import UserError


class InferenceModel:
    """An exported program behind `paddle.inference`: image float32 [N, 3, S, S] to logits [N, C]."""

    def __init__(self, folder: Path) -> None:
        program = next((p for p in (folder / "model.json", folder / "model.pdmodel") if p.is_file()), None)
        if program is None:
            raise UserError(f"{folder}: no model.pdmodel or model.json in it; export the model again")
        if program.suffix == ".json" and int(paddle.__version__.split(".")[0]) == 2:  # it would crash
            raise UserError(f"{program}: exported by Paddle 3, this is {paddle.__version__}; install paddlepaddle>=3")
        config = inference.Config(str(program), str(folder / "model.pdiparams"))
        config.disable_glog_info()
        place = paddle.device.get_device()
        if place.startswith("gpu"):
            config.enable_use_gpu(256, int(place.partition(":")[2]))
        else:
            config.set_cpu_math_library_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self._predictor = inference.create_predictor(config)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self._input.copy_from_cpu(image)
        self._predictor.run()
        return self._output.copy_to_cpu()
