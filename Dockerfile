# FluxCaption for the processor. A GPU image needs CUDA 12's cuBLAS beside it; see the recogniser's documentation.
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
# The configuration's web.listen wins; this is only the container's default.
ENV FLUXCAPTION_CONFIG=/config/config.yaml FLUXCAPTION_LISTEN=0.0.0.0:8765 PATH=/opt/fluxcaption/bin:$PATH
VOLUME /var/lib/fluxcaption
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
ENTRYPOINT ["fluxcaption"]
CMD ["run"]
