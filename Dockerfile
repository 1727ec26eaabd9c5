# relad-bids: CPU and GPU in one image (the torch wheels carry their CUDA libraries).
#   docker build -t relad-bids .
#   docker run --rm -v BIDS:/data:ro -v OUT:/out relad-bids /data /out participant -w /tmp/work
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY relad_bids relad_bids
COPY workflows workflows
RUN python -m venv /opt/relad \
 && /opt/relad/bin/pip install --no-cache-dir .

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="relad-bids" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Synthetic PET from T1w + FLAIR and regional SUVr tables"
COPY --from=build /opt/relad /opt/relad
# No fixed HOME: caches go where any user may write; nothing is fetched at run time.
ENV PATH=/opt/relad/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    NO_ET=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache \
    TEMPLATEFLOW_HOME=/tmp/templateflow \
    HF_HUB_OFFLINE=1
RUN useradd --create-home relad
USER relad
WORKDIR /tmp
ENTRYPOINT ["relad-bids"]
