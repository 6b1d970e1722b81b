"""Preset `tensorflow` against TensorFlow, by way of its own checkpoint files; and Keras' .h5, in and out.

The benchmark's weights (std 0.1) make logits of 1e9: they are scaled down here.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from compare import assert_same, converted, image, on_backend, outputs, random_weights

from paddle_alexnet.conversion import convert_weights

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

NAMES = ["conv1", "conv2", "conv3", "conv4", "conv5", "affine1", "affine2", "affine3"]
KERNELS = [(11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256)]
MATRICES = [(256 * 7 * 7, 4096), (4096, 4096), (4096, 10)]


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow", reason='TensorFlow is not installed: pip install -e ".[parity]"')


@pytest.fixture(scope="module")
def weights():
    shapes = [shape for weight in [*KERNELS, *MATRICES] for shape in (weight, weight[-1:])]
    return random_weights(shapes, [int(np.prod(shape[:-1])) for shape in shapes])


@pytest.fixture(scope="module")
def theirs(tf, weights):
    """The benchmark of 2018 in its own words: NHWC, SAME, tf.nn.lrn."""
    seen, x = [], tf.constant(image(224).transpose(0, 2, 3, 1))

    def note(name, y):
        seen.append((name, y.numpy().transpose(0, 3, 1, 2) if len(y.shape) == 4 else y.numpy()))
        return y

    for i, name in enumerate(NAMES):
        weight, bias = weights[2 * i : 2 * i + 2]
        if name.startswith("conv"):
            stride = 4 if name == "conv1" else 1
            x = note(name, tf.nn.conv2d(x, weight, [1, stride, stride, 1], padding="SAME") + bias)
            x = note("relu", tf.nn.relu(x))
        else:
            x = note(name, tf.matmul(x, weight) + bias)
            x = note("relu", tf.nn.relu(x))  # after the last one too
        if name in ("conv1", "conv2"):
            x = note("lrn", tf.nn.lrn(x, depth_radius=5, bias=1.0, alpha=0.001 / 9.0, beta=0.75))
            x = note("pool", tf.nn.max_pool2d(x, [1, 3, 3, 1], [1, 2, 2, 1], padding="VALID"))
        if name == "conv5":
            x = note("pool", tf.nn.max_pool2d(x, [1, 3, 3, 1], [1, 2, 2, 1], padding="SAME"))
            x = tf.reshape(x, [-1, 256 * 7 * 7])
    return seen


@pytest.fixture(scope="module")
def checkpoint(tf, weights, tmp_path_factory):
    """A checkpoint of TensorFlow 1's Saver, with what a momentum optimizer leaves beside the weights."""
    folder = tmp_path_factory.mktemp("tensorflow")
    variables = {"global_step": tf.Variable(91), "beta1_power": tf.Variable(0.9)}
    for i, name in enumerate(NAMES):
        variables[f"{name}/weights"] = tf.Variable(weights[2 * i])
        variables[f"{name}/biases"] = tf.Variable(weights[2 * i + 1])
        variables[f"{name}/biases/Momentum"] = tf.Variable(weights[2 * i + 1])
    variables["affine3/weights/Momentum"] = tf.Variable(weights[-2])
    saver = tf.compat.v1.train.Saver(variables)
    yield saver.save(None, str(folder / "model.ckpt"), global_step=91, write_meta_graph=False)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def network(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    yield converted(Path(checkpoint), folder, "tensorflow")[0]
    shutil.rmtree(folder)


@pytest.mark.parametrize("lrn", ["avgpool3d", "native"])
def test_tensorflow_checkpoint_gives_the_same_logits(lrn, network, theirs):
    assert_same(outputs(on_backend(network, lrn), image(224)), theirs)


@pytest.fixture(scope="module")
def keras_model(tf):
    """The article of 2022 as one would write it in Keras, with an optimizer that has made a step."""
    keras = pytest.importorskip("keras", reason='Keras is not installed: pip install -e ".[parity]"')
    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            layers.ZeroPadding2D(2),
            *(layers.Conv2D(48, 11, strides=4, activation="relu"), layers.MaxPooling2D(3, 2)),
            *(layers.Conv2D(128, 5, padding="same", activation="relu"), layers.MaxPooling2D(3, 2)),
            layers.Conv2D(192, 3, padding="same", activation="relu"),
            layers.Conv2D(192, 3, padding="same", activation="relu"),
            *(layers.Conv2D(128, 3, padding="same", activation="relu"), layers.MaxPooling2D(3, 2)),
            *(layers.Flatten(), layers.Dropout(0.5), layers.Dense(2048, activation="relu")),
            *(layers.Dropout(0.5), layers.Dense(2048, activation="relu", name="a_name_before_dense")),
            layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.fit(image(224).transpose(0, 2, 3, 1), np.ones((2, 10)), verbose=0)
    return model


def save_full_h5(tf, model, folder):
    model.save(folder / "model.h5")
    return folder / "model.h5"


def save_weights_h5(tf, model, folder):
    model.save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def save_keras(tf, model, folder):
    model.save(folder / "model.keras")
    return folder / "model.keras"


def save_checkpoint(tf, model, folder):
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    return folder / f"{checkpoint.save(str(folder / 'ckpt')).rpartition('/')[2]}.index"


@pytest.mark.parametrize("save", [save_full_h5, save_weights_h5, save_keras, save_checkpoint])
def test_keras_model_gives_the_same_logits(save, tf, keras_model, tmp_path):
    network, _ = converted(save(tf, keras_model, tmp_path), tmp_path, "half")
    ours = outputs(network, image(224))
    # Keras takes a ReLU into the layer before it: so does this, the last of two outputs counts.
    ours = [layer for layer, after in zip(ours, [*ours[1:], ("", None)]) if not after[0].endswith(" ReLU")]
    theirs, x = [], image(224).transpose(0, 2, 3, 1)
    for layer in keras_model.layers:
        x = np.asarray(layer(x))
        if layer.weights or "pooling" in layer.name:
            theirs.append((layer.name, x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))
    assert_same(ours, theirs)


def test_keras_reads_what_we_write(tf, keras_model, tmp_path):
    before = [np.array(weight) for weight in keras_model.get_weights()]
    convert_weights(save_weights_h5(tf, keras_model, tmp_path), tmp_path / "ours.pdparams")
    convert_weights(tmp_path / "ours.pdparams", tmp_path / "back.h5")
    keras_model.set_weights([np.zeros_like(weight) for weight in before])
    keras_model.load_weights(tmp_path / "back.h5")
    for weight, expected in zip(keras_model.get_weights(), before):
        assert np.array_equal(weight, expected)
