# Builds three images from one wheel: `--target producer` and `--target gateway` (no torch), and
# `--target worker`.
# TORCH_INDEX selects the torch build (CPU or a CUDA version).
# Include weights in the image with --build-arg BAKE=isnet-general-use.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS wheel
WORKDIR /src
RUN pip install --no-cache-dir build
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY shared shared
COPY producer producer
COPY worker worker
RUN python -m build --wheel --outdir /wheel

FROM ${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 10001 --create-home rmbg && mkdir -p /work /weights && chown rmbg /work /weights
COPY constraints.txt /tmp/constraints.txt
LABEL org.opencontainers.image.title="rmbg-queue" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM base AS producer
COPY --from=wheel /wheel /tmp/wheel
# botocore describes 400 services. Keep S3 and the ones that provide credentials: 65 MB instead of 82.
RUN pip install -c /tmp/constraints.txt /tmp/wheel/*.whl && rm -r /tmp/wheel /tmp/constraints.txt \
 && data=$(python -c 'import pathlib, botocore; print(pathlib.Path(botocore.__file__).parent / "data")') \
 && find "$data" -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
USER rmbg
# Empty on purpose: `worker`, `producer` and `shared` must be imported from the wheel.
WORKDIR /work
HEALTHCHECK NONE
CMD ["rmbg", "--help"]

FROM producer AS gateway
USER root
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheel /tmp/wheel
RUN set -eu; \
    wheel=$(ls /tmp/wheel/*.whl); \
    pip install -c /tmp/constraints.txt "$wheel[gateway]"; \
    rm -r /tmp/wheel /tmp/constraints.txt
ENV RMBG_GATEWAY_HOST=0.0.0.0
USER rmbg
EXPOSE 8080 9102
HEALTHCHECK --interval=15s --timeout=10s --retries=3 --start-period=15s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9102/readyz', timeout=8)"]
CMD ["rmbg-gateway"]

FROM base AS worker
# Package index with CPU builds of torch. Empty: use the configured index.
ARG TORCH_INDEX=
# torch is most of the image. Its own layer means that a code change does not download it again.
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c /tmp/constraints.txt torch
COPY --from=wheel /wheel /tmp/wheel
RUN set -eu; \
    wheel=$(ls /tmp/wheel/*.whl); \
    pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c /tmp/constraints.txt "$wheel[worker,heif,gpu]"; \
    rm -r /tmp/wheel /tmp/constraints.txt
ENV RMBG_HOME=/weights RMBG_HTTP=0.0.0.0:9464
LABEL rmbg.weights.licence="RMBG-1.4: Bria, non-commercial; isnet-general-use: Apache-2.0"
USER rmbg
ARG BAKE=
RUN if [ -n "$BAKE" ]; then rmbg weights pull "$BAKE"; fi
WORKDIR /work
EXPOSE 9464
HEALTHCHECK --interval=15s --timeout=10s --retries=3 --start-period=120s CMD ["rmbg-worker", "--probe"]
CMD ["rmbg-worker"]
