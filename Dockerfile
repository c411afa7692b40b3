# docker build -t dfer .                                for NVIDIA GPUs
# docker build -t dfer:cpu --build-arg SYSTEM=cpu .     without CUDA
# docker run --gpus all --shm-size=8g -v dfer-cache:/cache -v "$PWD:/work" dfer demo
# (shared memory carries the batches of the processes that read frames)
ARG SYSTEM=cuda

FROM debian:trixie-slim AS cpu
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04 AS cuda

# hadolint ignore=DL3006
FROM ${SYSTEM}
# Fixes of security come with the versions of the day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libgl1 libglib2.0-0t64 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/dfer
COPY pyproject.toml README.md LICENSE ./
COPY dfercli dfercli
COPY prompts prompts
ENV PIP_NO_CACHE_DIR=1
# The index that holds PyTorch's wheels for CPUs, a third of the size; empty for the usual one.
ARG TORCH_INDEX=""
RUN python3 -m venv .venv && if [ -n "$TORCH_INDEX" ]; then \
    PIP_INDEX_URL="$TORCH_INDEX" .venv/bin/pip install torch torchvision; fi
RUN python3 -m venv .venv && .venv/bin/pip install .

# Weights of CLIP, the detectors and answers of LLMs are kept in one volume.
ENV PATH="/opt/dfer/.venv/bin:$PATH" \
    XDG_CACHE_HOME=/cache \
    HF_HOME=/cache/huggingface \
    TORCH_HOME=/cache/torch
RUN useradd --uid 10001 --create-home dfer && mkdir -p /cache /work && chown dfer:dfer /cache /work
USER 10001
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["dfer"]
CMD ["--help"]
