"""Tests of mnistry.server.inside: layers give what they give in PyTorch, and evidence counts."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from mnistry.errors import ModelError, UsageError
from mnistry.export import _to_onnx
from mnistry.model import build
from mnistry.network import OnnxNetwork, shipped
from mnistry.pen import PenSet, write
from mnistry.recipe import PRESETS
from mnistry.run import Run
from mnistry.server.inside import Activations, look_inside
from networks import NETWORKS, write_onnx

RNG = np.random.default_rng(0)
NOTES = {"classes": json.dumps(list("0123456789"))}


@pytest.fixture(scope="module")
def network() -> OnnxNetwork:
    return OnnxNetwork(None, threads=1)


@pytest.fixture(scope="module")
def digits() -> NDArray[np.uint8]:
    return write(PenSet(1, 20, writers=4))[1].images


def graph(path: Path, body: str, **weights: NDArray[np.float32]) -> OnnxNetwork:
    """Opens a network of which `body` makes logits, (n, 10), of `x`, (n, 1, 28, 28) in 0..1."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 20]>
        own (uint8[n,28,28] images) => (float[n,10] probabilities)
        <int64[1] one = {{1}}, int64[2] flat = {{-1, 784}}, float full = {{255}}> {{
            f = Cast<to=1>(images) s = Div(f, full) x = Unsqueeze(s, one) {body}
            probabilities = Softmax(logits)
        }}"""
    )
    for name, values in weights.items():
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)
        )
    onnx.helper.set_model_props(model, NOTES)
    path.write_bytes(model.SerializeToString())
    return OnnxNetwork(path, 1)


def normal(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(0, 0.1, shape).astype(np.float32)


# -------------------------------------------------------------------------------------- the layers


def as_trained(name: str) -> Run:
    """A run whose batch normalisation does something."""
    recipe = NETWORKS.get(name) or PRESETS[name]
    network = build(recipe, seed=3)
    torch.manual_seed(0)
    with torch.no_grad():
        for key, values in network.state_dict().items():
            if "batchnorm" in key and values.is_floating_point():
                values.copy_(torch.rand_like(values) + 0.2)
    return Run(recipe, network, [], {"data": {"classes": list("0123456789")}})


def outputs(run: Run, names: list[str], image: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """What PyTorch's own modules give."""
    found: dict[str, torch.Tensor] = {}
    for name in names:
        run.network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.__setitem__(name, output[0].detach())
        )
    run.predict(image, shifts=0)
    for name in names:
        yield found[name].numpy()


EXPORTS = {
    "members": {
        "1st convolution": "members.0.batchnorm_1",
        "2nd convolution": "members.0.batchnorm_2",
    },
    "vidhya-mlp": {"1st dense layer": "dense_1", "2nd dense layer": "dense_2"},
}
SLOW = {
    "everything": {"1st convolution": "batchnorm_1", "2nd convolution": "batchnorm_2"},
    "own": {"1st convolution": "features.2", "1st dense layer": "head.0"},
    "fast": {"1st convolution": "conv_1", "2nd convolution": "batchnorm_1"},
    "strong": {"1st convolution": "batchnorm_1", "2nd convolution": "batchnorm_2"},
    "datumo-cnn": {"1st convolution": "conv_1", "1st dense layer": "dense_1"},
    "nvidia-mlp": {"1st dense layer": "dense_1", "2nd dense layer": "dense_2"},
}


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        *EXPORTS.items(),
        *(pytest.param(*each, marks=pytest.mark.slow, id=each[0]) for each in SLOW.items()),
    ],
    ids=[*EXPORTS, *SLOW],
)
def test_what_is_exported(name: str, modules: dict[str, str], digits, tmp_path: Path) -> None:
    run = as_trained(name)
    path = tmp_path / "own.onnx"
    path.write_bytes(_to_onnx(run, {}))
    found = look_inside(OnnxNetwork(path, 1), digits[0])
    assert [layer.name for layer in found.layers] == list(modules)
    expected = outputs(run, list(modules.values()), digits[0])
    for layer, values in zip(found.layers, expected, strict=True):
        assert values.any()
        assert layer.values.shape == (*values.shape, 1, 1)[:3]
        np.testing.assert_allclose(layer.values.squeeze(), values.squeeze(), atol=1e-5)
    np.testing.assert_allclose(found.digit.probabilities, run.predict(digits[:1])[0], atol=1e-5)


def test_the_shipped_network(network: OnnxNetwork, digits) -> None:
    model = onnx.load_from_string(shipped())
    taken = [node.input[0] for node in model.graph.node if node.op_type == "Conv"][1:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in taken
    )
    expected = ReferenceEvaluator(model).run(taken, {"images": digits[:1]})
    found = look_inside(network, digits[0]).layers
    assert [layer.name for layer in found] == ["1st convolution", "2nd convolution"]
    for layer, values in zip(found, expected, strict=True):
        assert layer.values.shape == values[0].shape
        step = values.max() / 255  # they are whole numbers of steps in the shipped file
        np.testing.assert_allclose(layer.values, values[0], atol=1.5 * step)


def test_an_activation_of_several_operations(tmp_path: Path, digits) -> None:
    kernel, name = normal(3, 1, 5, 5), "long" * 5000  # its length takes three bytes
    body = f"""c = Conv(x, k) g = Sigmoid(c) {name} = Mul(c, g)
        p = MaxPool<kernel_shape=[2,2]>({name}) v = Flatten(p)
        h = MatMul(v, w) b = Add(h, w0) t = Tanh(b) logits = Gemm(t, u)"""
    weights = {"w": normal(3 * 23 * 23, 7), "w0": normal(7), "u": normal(7, 10)}
    own = graph(tmp_path / "own.onnx", body, k=kernel, **weights)
    first, second = look_inside(own, digits[0]).layers
    pixels = torch.from_numpy(digits[:1, None] / np.float32(255))
    convolved = torch.nn.functional.silu(torch.conv2d(pixels, torch.from_numpy(kernel)))[0].numpy()
    np.testing.assert_allclose(first.values, convolved, atol=1e-6)
    assert (second.name, second.values.shape) == ("1st dense layer", (7, 1, 1))
    assert -1 < second.values.min() < 0  # after the tanh


def test_a_branch_is_followed_to_its_weights(tmp_path: Path, digits) -> None:
    body = """n = Shape(x) a = Conv<pads=[1,1,1,1]>(x, k) r = Relu(a) m = Add(x, r)
        b = Conv(m, l) q = Relu(b) v = Flatten(q) logits = MatMul(v, w)"""
    weights = {"k": normal(1, 1, 3, 3), "l": normal(2, 1, 3, 3), "w": normal(2 * 26 * 26, 10)}
    first, second = look_inside(graph(tmp_path / "own.onnx", body, **weights), digits[0]).layers
    assert (first.values.shape, second.values.shape) == ((1, 28, 28), (2, 26, 26))
    assert second.values.min() == 0


@pytest.mark.parametrize(
    "body", ["v = Reshape(x, flat) logits = MatMul(v, w)", "v = Reshape(x, flat) logits = Einsum"]
)
def test_a_network_without_hidden_layers(body: str, tmp_path: Path, digits) -> None:
    body = body.replace("Einsum", 'Einsum<equation="np,pc->nc">(v, w)')
    own = graph(tmp_path / "own.onnx", body, w=normal(784, 10))
    found = look_inside(own, digits[0])
    assert found.layers == ()
    assert np.abs(found.evidence).max() > 0


def test_maps_show_what_is_above_0() -> None:
    values = np.array([[[-3, 0], [1, 2]], [[0, 0], [0, 1]]], np.float32)
    layer = Activations("1st convolution", values)
    assert layer.maps.dtype == np.uint8
    white = np.percentile([1, 2, 1], 99)
    np.testing.assert_array_equal(layer.maps[0], [[0, 0], [int(255 / white), 255]])
    assert layer.maps[1, 1, 1] == layer.maps[0, 1, 0]  # maps are shown alike
    found = json.loads(json.dumps(layer.to_dict()))
    assert (found["name"], found["shape"]) == ("1st convolution", [2, 2, 2])
    assert [*base64.b64decode(found["maps"][0])] == layer.maps[0].ravel().tolist()
    assert not Activations("", -values.clip(0)).maps.any()


# ------------------------------------------------------------------------------------ the evidence


def left_and_right(path: Path, weight: float) -> OnnxNetwork:
    """A network to which ink on the left is a 5, and ink on the right is none."""
    weights = np.zeros((28, 28, 10))
    weights[:, :14, 5], weights[:, 14:, 5] = weight, -weight / 2
    body = "v = Reshape(x, flat) logits = MatMul(v, w)"
    return graph(path, body, w=weights.reshape(784, 10))


def test_evidence_for_and_against(tmp_path: Path) -> None:
    own = left_and_right(tmp_path / "own.onnx", 0.2)
    image = np.zeros((28, 28), np.uint8)
    image[10:20, 3:9] = image[10:20, 19:25] = 255
    image[10:20, 3] = 51  # a fifth of the ink
    found = look_inside(own, image)
    evidence = found.evidence
    assert (evidence.dtype, evidence.shape) == (np.float32, (28, 28))
    assert found.digit.label == 5
    assert (evidence[10:20, 3:9] > 0).all()
    assert (evidence[10:20, 19:25] < 0).all()
    assert not evidence[image == 0].any()
    assert evidence.max() == 1
    assert evidence[10:20, 19:25].min() == pytest.approx(-0.5, abs=0.05)
    assert (evidence[10:20, 3] < evidence[10:20, 4] / 2).all()


def test_evidence_of_next_to_nothing_is_pale(tmp_path: Path) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[10:20, 3:9] = 255
    found = look_inside(left_and_right(tmp_path / "own.onnx", 0.01), image)
    assert 0.15 < found.evidence.max() <= 0.25  # most patches have 15 to 25 pixels of ink
    assert not look_inside(left_and_right(tmp_path / "own.onnx", 0.2), image * 0).evidence.any()


def test_the_readers_answer_rests_on_the_evidence(network: OnnxNetwork, digits) -> None:
    left = []
    for image in digits:
        found = look_inside(network, image)
        best = int(found.digit.probabilities.argmax())
        ink = np.flatnonzero(image)
        order = ink[found.evidence.ravel()[ink].argsort()]
        parts = image.ravel()[None].repeat(2, 0)
        parts[0, order[-len(ink) // 3 :]] = parts[1, order[: len(ink) // 3]] = 0
        left.append(network.predict(parts.reshape(-1, 28, 28))[:, best])
    without_the_best, without_the_worst = np.mean(left, axis=0)
    assert without_the_best < without_the_worst - 0.2


# -------------------------------------------------------------------------------- answer and errors


def test_the_answer(network: OnnxNetwork, digits) -> None:
    found = look_inside(network, digits[3])
    expected = network.predict(digits[3:4])[0, :10]
    np.testing.assert_allclose(found.digit.probabilities, expected, atol=1e-5)
    answer = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(answer) == {"label", "probabilities", "layers", "evidence"}
    assert answer["label"] == found.digit.label
    assert np.shape(answer["probabilities"]) == (10,)
    assert [np.shape(layer["maps"]) for layer in answer["layers"]] == [(32,), (64,)]
    assert answer["evidence"]["label"] == expected.argmax()
    np.testing.assert_allclose(answer["evidence"]["values"], found.evidence, atol=6e-4)


def test_what_is_not_sure_has_no_label(network: OnnxNetwork) -> None:
    noise = RNG.integers(0, 256, (28, 28), np.uint8)
    found = look_inside(network, noise).to_dict()
    assert found["label"] is None
    assert found["evidence"]["label"] == np.argmax(found["probabilities"])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((28, 28)),
        np.zeros((1, 28, 28), np.uint8),
        np.zeros((28, 27), np.uint8),
        np.zeros(784, np.uint8),
    ],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
def test_no_image(image: NDArray[np.generic], network: OnnxNetwork) -> None:
    with pytest.raises(UsageError, match=r"image: is .* expected uint8 of \(28, 28\)"):
        look_inside(network, image)


def test_a_file_that_is_not_there_any_more(tmp_path: Path, digits) -> None:
    path = write_onnx(tmp_path / "own.onnx")
    whole = path.read_bytes()
    own = OnnxNetwork(path, 1)
    for content in (None, b"", b"no network", whole[: len(whole) // 2], whole[:-1]):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            look_inside(own, digits[0])
        text = str(caught.value)
        assert text.startswith(f"{path}: its layers cannot be shown (")
        assert text.endswith("expected a file as `mnistry export` writes it")
        assert "\n" not in text
    path.write_bytes(whole)
    assert look_inside(own, digits[0]).digit.label == 0


def test_answers_that_are_no_numbers(tmp_path: Path, digits) -> None:
    with pytest.raises(ModelError, match="probabilities that are no numbers"):
        look_inside(left_and_right(tmp_path / "own.onnx", np.nan), digits[0])


def test_it_needs_neither_torch_nor_onnx() -> None:
    program = """if True:
        import sys
        import numpy as np
        from mnistry.network import OnnxNetwork
        from mnistry.server.browse import Browser
        from mnistry.server.inside import look_inside
        look_inside(OnnxNetwork(None, 1), np.eye(28, dtype=np.uint8))
        print(*{name.partition(".")[0] for name in sys.modules} & {"torch", "onnx", "matplotlib"})
    """
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.stdout, found.returncode) == ("\n", 0), found.stderr
