# paddle-alexnet on the processor.
#
#   docker build -t paddle-alexnet .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" paddle-alexnet train -o data.root=data/mine
#
# /work is the folder in which it runs: data is read there and runs are written there.
FROM python:3.11-slim

# libgomp1: Paddle's wheel computes with it and does not bring it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY setup.py pyproject.toml MANIFEST.in LICENSE README.md ./
COPY configs configs
COPY paddle_alexnet paddle_alexnet
RUN pip install --no-cache-dir ".[cpu]" && rm -rf /source

# HOME is where Matplotlib and VisualDL keep what they keep, whoever the user is.
RUN useradd --create-home alexnet && mkdir /work && chown alexnet /work && chmod 1777 /home/alexnet
ENV HOME=/home/alexnet PYTHONUNBUFFERED=1
USER alexnet
WORKDIR /work
ENTRYPOINT ["paddle-alexnet"]
CMD ["--help"]
