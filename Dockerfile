# Image for the CPU. A GPU image also needs cuBLAS of CUDA 12; see the documentation of faster-whisper.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY daemon daemon
COPY plugin-manifest plugin-manifest
RUN python -m venv /opt/fluxcaption && /opt/fluxcaption/bin/pip install --no-cache-dir .

FROM python:3.12-slim
COPY --from=build /opt/fluxcaption /opt/fluxcaption
RUN useradd --system --uid 8765 --home-dir /var/lib/fluxcaption --create-home fluxcaption
USER fluxcaption
# FLUXCAPTION_LISTEN is the default in the container; `web.listen` in the configuration overrides it.
ENV FLUXCAPTION_CONFIG=/config/config.yaml FLUXCAPTION_LISTEN=0.0.0.0:8765 PATH=/opt/fluxcaption/bin:$PATH
VOLUME /var/lib/fluxcaption
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
ENTRYPOINT ["fluxcaption"]
CMD ["run"]
