# docker build -t dfer .
# docker run --gpus all --shm-size=8g -v dfer-cache:/cache -v "$PWD:/work" dfer demo
# (shared memory carries the batches of the processes that read frames)
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libgl1 libglib2.0-0t64 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/dfer
COPY pyproject.toml README.md LICENSE ./
COPY dfercli dfercli
COPY prompts prompts
ENV PIP_NO_CACHE_DIR=1
RUN python3 -m venv .venv && .venv/bin/pip install .

# Weights of CLIP, the detectors and answers of LLMs are kept in one volume.
ENV PATH="/opt/dfer/.venv/bin:$PATH" \
    XDG_CACHE_HOME=/cache \
    HF_HOME=/cache/huggingface \
    TORCH_HOME=/cache/torch
RUN useradd --create-home dfer && mkdir -p /cache /work && chown dfer:dfer /cache /work
USER dfer
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["dfer"]
CMD ["--help"]
