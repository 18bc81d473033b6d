# Two images for docker-compose.yaml: `certflow` (Airflow with certflow) and `sftp` (the demo's servers).
# On one machine `make up` needs no image.
FROM python:3.12-slim-bookworm AS certflow

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/data/airflow CERTFLOW_HOME=/data HOME=/tmp PYTHONPATH=/opt/certflow/plugins
RUN useradd --uid 5000 --home-dir /data --no-create-home certflow && install -d -o certflow -g certflow -m 700 /data
WORKDIR /opt/certflow

# The packages first: they are built anew only when the lock or the list changes.
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY include/certflow/__init__.py include/certflow/
RUN pip install --constraint requirements.lock --editable ".[celery]"
COPY include include
COPY expectations expectations
COPY dags dags
COPY plugins plugins
COPY deploy deploy
COPY docs docs
# Nothing below belongs to the user who runs it, and nothing can be written later: compiled now.
RUN python -m compileall -q include dags plugins deploy && chmod -R a+rX,go-w .

USER certflow
VOLUME /data
ENTRYPOINT ["sh", "/opt/certflow/deploy/start.sh"]
CMD ["certflow", "--help"]

FROM debian:bookworm-slim AS sftp
RUN apt-get update && apt-get install -y --no-install-recommends openssh-server && rm -rf /var/lib/apt/lists/*
COPY deploy/sftp.sh /
EXPOSE 2222
VOLUME /srv/sftp
CMD ["sh", "/sftp.sh"]
