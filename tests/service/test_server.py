"""Connections of clients that send too much, too slowly or nothing, and of those that leave."""

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from planted import red_and_green

pytest.importorskip("fastapi", reason="the service needs the extra [serve]")

from running_service import running

from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.service.limits import Limits
from paddle_alexnet.service.served_model import open_served

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`

GET = b"GET /health HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "checkpoint"
    save_checkpoint(place, *red_and_green())
    limits = Limits(megabytes=1, connections=8, head_timeout=0.5, timeout=1)
    with running(open_served(place, device="cpu"), limits) as found:
        yield found


@pytest.fixture
def connect(service):
    """Connections that are closed after the test."""
    place = urlsplit(service.address)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))


def rest(connection):
    """What still comes until the service closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def taken(connection, most=30_000_000):
    """How many bytes the service takes before it stops reading or closes the connection."""
    connection.settimeout(5)
    sent = 0
    try:
        while sent < most:
            sent += connection.send(b"b" * 65536)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize("length", [40_000, 10_000_000])
def test_headers_that_are_too_long_are_refused(connect, service, length):
    connection = connect()
    try:
        connection.sendall(GET + b"a: " + b"b" * length + b"\r\n\r\n")
    except OSError:
        assert length > 1_000_000
    else:
        assert connection.recv(1000).startswith(b"HTTP/1.1 431 ")
    assert service.get("health").status == 200


def test_a_client_that_goes_on_with_its_headers_is_cut_off(connect):
    connection = connect()
    connection.sendall(GET + b"a: ")
    assert taken(connection) < 20_000_000


def test_a_body_that_nobody_reads_is_cut_off(connect):
    connection = connect()
    connection.sendall(GET + b"content-length: 1000000000\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    start = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < start + 10:
            connection.sendall(b"b")
            time.sleep(0.05)
    assert time.monotonic() - start < 5


def test_a_head_that_does_not_come_is_not_waited_for(connect):
    silent, slow = connect(), connect()
    start = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < start + 10:
            slow.sendall(b"G" if start == time.monotonic() else b"E")
            time.sleep(0.1)
    assert time.monotonic() - start < 5
    assert rest(silent).startswith(b"HTTP/1.1 408 ")


def test_after_a_request_the_connection_stays_open(connect):
    connection = connect()
    for pause in (0, 0.8, 0.1):  # longer than a head may take
        time.sleep(pause)
        connection.sendall(GET[:20])
        time.sleep(0.1)
        connection.sendall(GET[20:] + b"\r\n")
        assert connection.recv(4000).startswith(b"HTTP/1.1 200 ")


def test_many_that_wait_do_not_keep_another_from_its_answer(connect, service):
    waiting = [connect() for _ in range(40)]
    for _ in range(3):
        assert service.get("health").status == 200
    closed = 0
    for connection in waiting:
        connection.settimeout(0.01)
        try:
            closed += connection.recv(100) == b""
        except ConnectionResetError:
            closed += 1
        except socket.timeout:
            pass
    assert closed >= 40 - 8


def test_a_client_that_does_not_read_its_answer_is_left(connect, service):
    connection = connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    connection.settimeout(0.5)
    start = time.monotonic()
    try:
        while time.monotonic() < start + 10:
            connection.sendall(request * 100)
    except socket.timeout:
        connection.settimeout(5)
    time.sleep(1.2)  # more than `timeout`
    with pytest.raises(ConnectionError):
        for _ in range(100):
            connection.sendall(request * 100)


@pytest.mark.parametrize(
    "kind, body",
    [
        ("image/png", b"abc"),
        ("application/json", b'{"images": ['),
        ("multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data; name=f; filename=f\r\n\r\nabc"),
    ],
)
def test_a_client_that_leaves_in_the_middle_of_its_upload_is_counted_and_no_error(
    connect, service, capfd, caplog, kind, body
):
    counted = 'alexnet_requests_total{path="/predict",status="499"} '
    before = service.get("metrics").body.decode().partition(counted)[2].split("\n")[0] or "0.0"
    connection = connect()
    connection.sendall(f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n".encode())
    connection.sendall(b"content-length: 1000\r\n\r\n" + body)
    time.sleep(0.1)
    connection.close()
    end = time.monotonic() + 10
    while f"{counted}{float(before) + 1}" not in service.get("metrics").body.decode():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert service.get("health").json["inside"] == 0
    assert capfd.readouterr().err == "" and caplog.text == ""


def test_a_body_in_chunks_of_a_byte_is_cut_off_and_others_are_read(connect):
    crumbs, chunks = connect(), connect()
    for connection in (crumbs, chunks):
        connection.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
    with pytest.raises(ConnectionError):
        for _ in range(100):
            crumbs.sendall(b"1\r\na\r\n" * 1000)
            time.sleep(0.001)
    chunks.sendall((b"400\r\n" + b"a" * 1024 + b"\r\n") * 500 + b"0\r\n\r\n")
    assert chunks.recv(1000).startswith(b"HTTP/1.1 415 ")


def test_server_refuses_bytes_that_are_no_http(connect):
    connection = connect()
    connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert rest(connection).startswith(b"HTTP/1.1 400 ")
