# relad-bids for CPU and GPU.
#   docker build -t relad-bids:0.1.0 .                             CPU and NVIDIA GPU (CUDA in torch's wheel)
#   docker build -t relad-bids:0.1.0-cpu --build-arg DEVICE=cpu .  CPU alone, gigabytes smaller
# How it is run: singularity/README.md. To hold the base still by its content:
#   --build-arg BASE_DIGEST=@sha256:...
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm
ARG BASE_DIGEST=

FROM ${BASE}${BASE_DIGEST} AS environment
ARG DEVICE=cuda
ARG CPU_WHEELS=https://download.pytorch.org/whl/cpu
COPY docker/ /src/docker/
RUN sh /src/docker/install.sh dependencies "${DEVICE}" "${CPU_WHEELS}"
COPY pyproject.toml README.md LICENSE /src/
COPY relad_bids/ /src/relad_bids/
COPY workflows/ /src/workflows/
RUN sh /src/docker/install.sh package

FROM ${BASE}${BASE_DIGEST}
LABEL org.opencontainers.image.title="relad-bids" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Synthetic PET from T1w + FLAIR and regional SUVr tables"
COPY --from=environment /opt/relad /opt/relad
# No fixed HOME, and no user needed: USER and LOGNAME stand in for a uid without a name, and what
# libraries keep goes below /tmp. Where that is not ours to write, the program takes a folder of its
# own for the run (relad_bids/cli/caches.py). Nothing is fetched and nothing is sent.
ENV PATH=/opt/relad/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    USER=relad \
    LOGNAME=relad \
    NO_ET=1 \
    HF_HUB_OFFLINE=1 \
    TEMPLATEFLOW_AUTOUPDATE=off \
    MPLCONFIGDIR=/tmp/relad-bids/matplotlib \
    NIPYPE_CONFIG_DIR=/tmp/relad-bids/nipype \
    NUMBA_CACHE_DIR=/tmp/relad-bids/numba \
    TEMPLATEFLOW_HOME=/tmp/relad-bids/templateflow \
    TORCH_HOME=/tmp/relad-bids/torch \
    TORCHINDUCTOR_CACHE_DIR=/tmp/relad-bids/inductor \
    TRITON_CACHE_DIR=/tmp/relad-bids/triton \
    HF_HOME=/tmp/relad-bids/huggingface \
    XDG_CACHE_HOME=/tmp/relad-bids/cache \
    XDG_CONFIG_HOME=/tmp/relad-bids/config \
    XDG_DATA_HOME=/tmp/relad-bids/data
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["relad-bids"]
