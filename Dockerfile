# syntax=docker/dockerfile:1
#
# The gate as a container. It needs no writable root and no privileges:
#
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     --volume "$PWD/assentry.yaml:/etc/assentry/assentry.yaml:ro" --volume assentry:/var/lib/assentry \
#     --publish 8400:8400 --publish 8401:8401 assentry:dev
#
# In a container the doors listen on 0.0.0.0 (agents.listen, approvers.listen); `assentry config example` does so.

ARG PYTHON=3.13-slim

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.lock requirements/serve.lock requirements/
# Wheels only and by hash: nothing from the network runs while the image is built.
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary=:all: --requirement requirements/build.lock \
 && python -m venv --without-pip /opt/assentry \
 && /opt/build/bin/pip --python /opt/assentry/bin/python \
      install --require-hashes --only-binary=:all: --requirement requirements/serve.lock
COPY pyproject.toml README.md LICENSE ./
COPY policy policy
COPY config config
COPY connectors connectors
COPY proxy proxy
RUN /opt/build/bin/hatchling build --target wheel --directory /dist \
 && /opt/build/bin/pip --python /opt/assentry/bin/python install --no-deps --no-index /dist/assentry-*.whl

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Assentry" \
      org.opencontainers.image.description="An identity-aware reverse proxy that enforces action-level approvals for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
# PYTHONSAFEPATH: our packages have plain names; a file in the working directory must not stand in for one.
ENV PATH=/opt/assentry/bin:$PATH PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/assentry /opt/assentry
RUN install --directory --mode=0755 /etc/assentry \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/assentry
# Numeric, so that Kubernetes can tell it from root (runAsNonRoot).
USER 10001:10001
WORKDIR /var/lib/assentry
VOLUME /var/lib/assentry
EXPOSE 8400 8401 8402
STOPSIGNAL SIGTERM
# The operators' door, where it stands unless operators.listen says otherwise.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8402/livez', timeout=2).close()"]
ENTRYPOINT ["assentry"]
CMD ["serve"]
