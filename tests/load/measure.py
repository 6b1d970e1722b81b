"""How much of a predictor's speed is left behind the service, and whether its memory is flat: about two minutes.

    pip install locust
    python tests/load/measure.py MODEL [SECONDS]

The predictor alone for a while, then the service with the clients of `locustfile.py`, then the predictor again, on the
same pictures (ALEXNET_IMAGENETTE=DIR, else drawn ones). Exit code 1 where a client saw an error. The clients compute on
the same cores as the service.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ALONE = """
import sys, time
from itertools import cycle
from pathlib import Path
from paddle_alexnet.service.served_model import open_served
predictor = open_served(sys.argv[1]).predictor
answers = predictor.predict(cycle(sorted(Path(sys.argv[2]).iterdir())))
for _ in range(64):
    next(answers)
done, start = 0, time.perf_counter()
while time.perf_counter() - start < float(sys.argv[3]):
    next(answers)
    done += 1
print(done / (time.perf_counter() - start))
"""
PICTURES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from locustfile import PICTURES
for n, content in enumerate(PICTURES):
    Path(sys.argv[2], f"{n:05d}.jpg").write_bytes(content)
"""


def predictor_alone(model: str, folder: Path, seconds: float) -> float:
    """Images per second, decoding included."""
    command = [sys.executable, "-c", ALONE, model, str(folder), str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def megabytes(address: str) -> float:
    with urllib.request.urlopen(f"{address}metrics", timeout=20) as answer:
        found = re.search(r"^process_resident_memory_bytes (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1]) / 1e6


def main() -> int:
    model, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-c", PICTURES, str(HERE), name], check=True, capture_output=True)
        print(f"{len(list(folder.iterdir()))} pictures", flush=True)
        alone = [predictor_alone(model, folder, 12)]
        print(f"predictor alone: {alone[0]:.1f} images/s", flush=True)
        command = [sys.executable, "-m", "paddle_alexnet", "serve", model, "--port", "0", "--samples", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                address = next(line.split()[2] for line in server.stdout if line.startswith("serving at"))
                options = ["--headless", "--users", "33", "--spawn-rate", "33", "--run-time", f"{seconds}s", "--json"]
                locust = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), *options]
                memory = [megabytes(address)]
                with subprocess.Popen(
                    [*locust, "--host", address.rstrip("/")],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                ) as clients:
                    while clients.poll() is None:
                        time.sleep(max(1.0, seconds / 12))
                        memory.append(megabytes(address))
                    assert clients.stdout is not None
                    rows = json.loads(clients.stdout.read())
            finally:
                server.terminate()
        alone.append(predictor_alone(model, folder, 12))
        print(f"predictor alone: {alone[1]:.1f} images/s")
    predict = next(row for row in rows if row["name"] == "/predict")
    speed = predict["num_requests"] / (predict["last_request_timestamp"] - predict["start_time"])
    failures = sum(row["num_failures"] for row in rows)
    latencies = sorted((float(ms), count) for ms, count in predict["response_times"].items())
    every = [ms for ms, count in latencies for _ in range(count)]
    print(f"service, {predict['num_requests']} requests of 32 clients: {speed:.1f} images/s, ", end="")
    print(f"median {every[len(every) // 2]:.0f} ms, 99 % within {every[int(len(every) * 0.99)]:.0f} ms")
    print(f"that is {100 * speed / (sum(alone) / 2):.0f} % of the predictor alone")
    print(f"failures: {failures}; hostile requests: {sum(row['num_requests'] for row in rows if row is not predict)}")
    for row in rows:
        if row["num_failures"]:
            print(f"  {row['num_failures']} of {row['num_requests']} {row['name']}")
    print("memory of the service, MB:", " ".join(f"{value:.0f}" for value in memory))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
