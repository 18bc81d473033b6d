# The province's image: Airflow with certflow, for docker-compose.yaml. On one machine `make up` needs no image.
FROM python:3.12-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/data/airflow CERTFLOW_HOME=/data PYTHONPATH=/opt/certflow/plugins
RUN useradd --uid 5000 --create-home certflow && install -d -o certflow -g certflow -m 700 /data
WORKDIR /opt/certflow

COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install -r requirements.lock
COPY include include
COPY expectations expectations
RUN pip install --no-deps -e .
COPY dags dags
COPY plugins plugins
COPY docs/runbook.zh-CN.md docs/

USER certflow
VOLUME /data
