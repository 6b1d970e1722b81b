"""The service over HTTP: answers, refusals, and its end."""

import base64
import http.client
import io
import json
import shutil
import socket
import subprocess
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers import REPOSITORY
from PIL import Image
from planted import GREEN, RED, planted, red_and_green
from rounding import PROBABILITIES

pytest.importorskip("fastapi", reason="the service needs the extra [serve]")

from running_service import form, running

from paddle_alexnet import UserError
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.service.limits import Limits
from paddle_alexnet.service.samples import Sample
from paddle_alexnet.service.served_model import Served, open_served
from paddle_alexnet.service.server import listen

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


RED_FILE, GREEN_FILE = png(planted({RED: (10, 60)})), png(planted({GREEN: (50, 20)}))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "checkpoint"
    save_checkpoint(place, *red_and_green())
    return open_served(place, device="cpu")


@pytest.fixture(scope="module")
def service(served):
    """A service with small limits, so that a test is soon beyond them."""
    limits = Limits(megabytes=1, megapixels=1, images=4, timeout=20)
    with running(served, limits, [Sample("red", RED_FILE), Sample("<green>", GREEN_FILE)]) as found:
        yield found


@pytest.fixture
def slow(served):
    """A model that answers only once `go` is set."""
    go = threading.Event()

    def log_probabilities(image):
        assert go.wait(20)
        return served.predictor.log_probabilities(image)

    yield SimpleNamespace(
        go=go,
        served=Served(SimpleNamespace(metadata=served.predictor.metadata, log_probabilities=log_probabilities), None),
    )
    go.set()


def in_thread(job, *arguments):
    """A call under way; its `result()` waits for what it gives."""
    found = []
    thread = threading.Thread(target=lambda: found.append(job(*arguments)))
    thread.start()
    return SimpleNamespace(result=lambda: thread.join(30) or found[0])


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def metric(service, line):
    found = [row for row in service.get("metrics").body.decode().splitlines() if row.startswith(f"{line} ")]
    return float(found[0].split()[-1]) if found else 0.0


def test_predict_request_is_answered_as_by_the_predictor(service, served):
    for name, content in (("red", RED_FILE), ("green", GREEN_FILE)):
        preprocess = served.predictor.metadata.preprocess
        expected = np.exp(served.predictor.log_probabilities(preprocess.batch(preprocess.pixels(content)[None])))[0]
        answer = service.send("predict?top=2", content)
        assert answer.status == 200, name
        (prediction,) = answer.json["predictions"]
        assert prediction["name"] == "0.png" and prediction["error"] == ""
        assert [one["rank"] for one in prediction["top"]] == [1, 2]
        for one in prediction["top"]:
            index = served.predictor.metadata.classes.names.index(one["label"])
            assert one["probability"] == pytest.approx(expected[index], rel=2 * PROBABILITIES)


def test_several_files_and_base64_are_answered_in_order(service):
    files = service.send("predict?top=1", RED_FILE, GREEN_FILE, RED_FILE)
    texts = [base64.b64encode(file).decode() for file in (RED_FILE, GREEN_FILE, RED_FILE)]
    texts[1] = f"data:image/png;base64,{texts[1]}"
    encoded = service.post("predict?top=1", json.dumps({"images": texts}).encode(), "application/json")
    for answer, names in ((files, ["0.png", "1.png", "2.png"]), (encoded, ["image 1", "image 2", "image 3"])):
        assert answer.status == 200
        assert [one["name"] for one in answer.json["predictions"]] == names
        labels = [one["top"][0]["label"] for one in answer.json["predictions"]]
        assert labels == ["class 0", "class 1", "class 0"]


def test_predict_request_with_an_unreadable_image_answers_the_others(service):
    before = metric(service, 'alexnet_images_total{outcome="refused"}')
    answer = service.send("predict", RED_FILE, b"no image", RED_FILE[:100])
    assert answer.status == 200
    assert [one["status"] for one in answer.json["predictions"]] == [200, 415, 422]
    assert answer.json["predictions"][1]["top"] == [] and "not an image" in answer.json["predictions"][1]["error"]
    assert metric(service, 'alexnet_images_total{outcome="refused"}') == before + 2


def test_a_file_as_the_body_is_one_image(service):
    for kind in ("image/png", "image/jpeg", "application/octet-stream"):
        (prediction,) = service.post("predict?top=1", GREEN_FILE, kind).json["predictions"]
        assert (prediction["name"], prediction["top"][0]["label"]) == ("image 1", "class 1")
        assert service.post("explain?top=1", GREEN_FILE, kind).json["insight"]["label"] == "class 1"


def test_a_name_that_utf8_cannot_hold_is_answered(service):
    border = b'--x\r\ncontent-disposition: form-data; name=file; filename="\\ud800.png"\r\n\r\n'
    kind = "multipart/form-data; boundary=x; charset=unicode_escape"
    (prediction,) = service.post("predict", border + RED_FILE + b"\r\n--x--\r\n", kind).json["predictions"]
    assert (prediction["name"], prediction["status"]) == ("?.png", 200)


JSON, FORM = "application/json", "multipart/form-data; boundary=x"
UNDEFINED = f"{FORM}; charset=undefined"
BAD = [
    ("predict", *form(b"no image"), 415, "not an image"),
    ("predict", *form(RED_FILE[:100]), 422, "unreadable"),
    ("predict", *form(png(np.zeros((1001, 1000, 3), np.uint8))), 413, "megapixels"),
    ("predict", *form(*[RED_FILE] * 5), 413, "more than 4 images"),
    ("predict", *form(bytes(1_100_000)), 413, "limit of 1 megabytes"),
    ("predict", *form(), 422, "no image"),
    ("predict", b"", "text/plain", 415, "multipart/form-data"),
    ("predict", b"", "image/jpeg", 422, "no image"),
    ("predict", b"no image", "image/jpeg", 415, "not an image"),
    ("predict", b"--x\r\nnonsense", FORM, (400, 422), ""),
    (
        "predict",
        b"--x\r\ncontent-disposition: form-data; name=f; filename=f\r\n\r\na\r\n--x--\r\n",
        UNDEFINED,
        400,
        "charset",
    ),
    ("predict", b"{", JSON, 422, "must be JSON such as"),
    ("predict", b"[" * 100_000, JSON, 422, "must be JSON such as"),
    ("predict", b"[]", JSON, 422, "must be JSON such as"),
    ("predict", b'{"images": "AAAA"}', JSON, 422, "must be a list of base64 strings"),
    ("predict", b'{"images": [1]}', JSON, 422, "must be a list of base64 strings"),
    ("predict", b'{"images": []}', JSON, 422, "no image"),
    ("predict", b'{"images": ["%%%"]}', JSON, 422, "not base64"),
    ("predict", b'{"images": ["\\ud800"]}', JSON, 422, "not base64"),
    ("predict?top=0", *form(RED_FILE), 422, "greater than or equal to 1"),
    ("explain", *form(RED_FILE, RED_FILE), 413, "/explain takes one"),
    ("explain?label=dog", *form(RED_FILE), 422, "not found in the model"),
    ("explain", *form(b"no image"), 415, "not an image"),
    ("predicts", *form(RED_FILE), 404, ""),
]


@pytest.mark.parametrize("path, body, kind, status, reason", BAD, ids=range(len(BAD)))
def test_request_that_is_wrong_is_refused_with_a_reason(service, path, body, kind, status, reason):
    answer = service.post(path, body, kind)
    assert answer.status in (status if isinstance(status, tuple) else (status,)), answer.body
    assert reason in str(answer.json["detail"])
    assert service.get("health").json["inside"] == 0
    assert service.send("predict", RED_FILE).status == 200


def test_a_body_without_a_length_is_cut_at_the_same_size(service):
    connection = http.client.HTTPConnection(urlsplit(service.address).netloc, timeout=20)
    body, kind = form(bytes(1_500_000))
    connection.request(
        "POST", "/predict", iter([body[:1000], body[1000:]]), {"Content-Type": kind}, encode_chunked=True
    )
    answer = connection.getresponse()
    assert (answer.status, "limit of 1 megabytes" in answer.read().decode()) == (413, True)
    connection.close()


def test_request_beyond_the_waiting_limit_is_refused_at_once(slow):
    with running(slow.served, Limits(waiting=3, timeout=20)) as service:
        first = in_thread(service.send, "predict", RED_FILE, RED_FILE)
        wait_until(lambda: service.get("health").json["inside"] == 2)
        assert service.send("predict", GREEN_FILE, GREEN_FILE).status == 429
        second = in_thread(service.send, "predict", GREEN_FILE)
        wait_until(lambda: service.get("health").json["inside"] == 3)
        refused = service.send("predict", GREEN_FILE)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "3 of at most 3 images are waiting" in refused.json["detail"]
        slow.go.set()
        assert (first.result().status, second.result().status) == (200, 200)
        assert service.send("predict", GREEN_FILE).status == 200
        assert metric(service, 'alexnet_requests_total{path="/predict",status="429"}') == 2


def test_an_answer_that_takes_too_long_and_an_upload_that_does(slow):
    with running(slow.served, Limits(timeout=0.3)) as service:
        late = service.send("predict", RED_FILE)
        assert (late.status, late.json["detail"]) == (503, "no response within 0.3 s; try again")
        place = urlsplit(service.address)
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
            connection.sendall(b"content-length: 1000\r\n\r\n{")
            assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
        slow.go.set()
        wait_until(lambda: service.get("health").json["inside"] == 0)


def test_request_under_way_is_answered_if_the_service_ends(slow):
    with running(slow.served, Limits(timeout=20)) as service:
        under_way = in_thread(service.send, "predict", RED_FILE)
        wait_until(lambda: service.get("health").json["inside"] == 1)
        service.server.should_exit = True
        wait_until(lambda: not service.server.servers[0].sockets)
        slow.go.set()
        assert under_way.result().status == 200
        with pytest.raises(OSError):
            service.get("health")


def test_an_explanation_is_of_the_class_that_is_asked_for(service):
    both = png(planted({RED: (5, 8), GREEN: (60, 55)}))
    shown = {}
    for label in ("class 0", "class 1"):
        answer = service.send(f"explain?label={label.replace(' ', '%20')}&maps=3", both)
        assert answer.status == 200
        seen = answer.json["insight"]
        assert (seen["label"], seen["empty"]) == (label, False)
        assert [(layer["name"], len(layer["maps"])) for layer in seen["layers"]] == [
            (f"conv{n}", 3) for n in range(1, 6)
        ]
        with Image.open(io.BytesIO(base64.b64decode(seen["overlay"].partition(",")[2]))) as picture:
            pixels = np.asarray(picture).astype(int)
            shown[label] = pixels.max(axis=2) - pixels.min(axis=2)
    assert shown["class 0"][5:33, 8:36].mean() > 60 > 20 > shown["class 1"][5:33, 8:36].mean()
    assert shown["class 1"][60:88, 55:83].mean() > 60 > 20 > shown["class 0"][60:88, 55:83].mean()
    first = service.send("explain?maps=0", RED_FILE).json
    assert (first["insight"]["label"], first["insight"]["layers"]) == (first["top"][0]["label"], [])


def test_an_explanation_is_drawn_over_the_whole_image_in_its_proportions(service):
    wide = np.full((640, 1280, 3), 110, np.uint8)
    wide[384:576, 960:1152] = (230, 40, 40)
    seen = service.send("explain?label=class%200&maps=0", png(wide)).json["insight"]
    drawn = {}
    for name in ("image", "overlay"):
        with Image.open(io.BytesIO(base64.b64decode(seen[name].partition(",")[2]))) as picture:
            assert picture.size == (1024, 512)
            drawn[name] = np.asarray(picture).astype(int)
    spread = drawn["overlay"].max(axis=2) - drawn["overlay"].min(axis=2)
    assert spread[320:450, 790:900].mean() > 60 > 20 > spread[:200, :400].max()
    assert seen["peak"] > 0 and seen["scale"].startswith("data:image/png")


def test_an_exported_model_alone_answers_and_says_that_it_cannot_be_looked_into(slow):
    slow.go.set()
    with running(slow.served, Limits()) as service:
        answer = service.send("explain", RED_FILE)
        assert (answer.status, answer.json["insight"], answer.json["top"][0]["label"]) == (200, None, "class 0")
        assert service.get("filters.png").status == 404
        assert "An exported model outside its run predicts but does not explain" in service.get("").body.decode()


def test_service_describes_its_model_and_paths(service):
    health = service.get("health").json
    assert (health["status"], health["model"]["preset"], health["model"]["classes"]) == ("ok", "tiny", 2)
    described = service.get("openapi.json").json
    assert set(described["paths"]) == {"/predict", "/explain", "/health", "/metrics"}
    content = described["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {JSON, "multipart/form-data", "image/*"}
    assert {"200", "413", "415", "422", "429", "503"} <= set(described["paths"]["/predict"]["post"]["responses"])
    before = metric(service, 'alexnet_requests_total{path="/predict",status="200"}')
    service.send("predict", RED_FILE, RED_FILE)
    service.get("no/such/path")
    assert metric(service, 'alexnet_requests_total{path="/predict",status="200"}') == before + 1
    assert metric(service, 'alexnet_requests_total{path="other",status="404"}') >= 1
    assert metric(service, "process_resident_memory_bytes") > 1e6


def test_head_is_answered_as_get_without_a_body(service):
    for path in ("", "docs", "health", "metrics", "openapi.json", "filters.png", "samples/0.jpg", "no/such/path"):
        connection = http.client.HTTPConnection(urlsplit(service.address).netloc, timeout=20)
        connection.request("HEAD", f"/{path}")
        head, got = connection.getresponse(), service.get(path)
        assert (head.status, head.read()) == (got.status, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
        connection.request("HEAD", "/predict")  # the connection is still of use
        refused = connection.getresponse()
        assert (refused.status, refused.headers["allow"]) == (405, "POST")
        connection.close()


def test_pages_of_other_sites_may_use_it_only_if_they_are_allowed(service, served):
    def preflight(address, origin):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        connection.request("OPTIONS", "/predict", headers=headers)
        answer = connection.getresponse()
        connection.close()
        return answer.status, answer.headers.get("access-control-allow-origin")

    site = "https://example.org"
    assert preflight(service.address, site) == (405, None)
    with running(served, Limits(), allow_origins=[site, "http://localhost:3000"]) as open_to_it:
        assert preflight(open_to_it.address, site) == (200, site)
        assert preflight(open_to_it.address, "https://example.com") == (400, None)
        for content, status in ((RED_FILE, 200), (b"no image", 415)):  # a refusal can be read, too
            answer = open_to_it.post("predict", content, "image/png", Origin=site)
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, site)


def test_the_pages_ask_for_nothing_from_elsewhere(service):
    for path in ("docs", ""):
        page = service.get(path)
        text = page.body.decode()
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "//" not in "".join(line for line in text.splitlines() if "src=" in line or "href=" in line)
    assert "&lt;green&gt;" in text and "<green>" not in text
    assert service.get("samples/0.jpg").body == RED_FILE
    assert [service.get(f"samples/{n}.jpg").status for n in ("2", "-1", "x")] == [404, 404, 422]
    assert service.get("filters.png").body.startswith(b"\x89PNG")


def test_a_port_that_is_taken_is_one_line():
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match=r"cannot listen there .*choose another port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="cannot listen there"):
        listen("no.such.host.invalid", 0)
    with pytest.raises(UserError, match="exceeds 65535"):
        listen("127.0.0.1", 99999)


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_commands_of_the_docs_are_answered(service, tmp_path):
    for name in ("photo.jpg", "one.jpg", "two.jpg"):
        (tmp_path / name).write_bytes(RED_FILE)
    text = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "curl " in line]
    assert len(lines) == 4
    for line in lines:
        command = line.replace("curl ", "curl --silent --fail ").replace("http://127.0.0.1:8000/", service.address)
        answer = subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, check=True).stdout
        assert json.loads(answer)["predictions"][-1]["top"][0]["label"] == "class 0", line
