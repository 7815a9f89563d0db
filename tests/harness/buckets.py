"""One S3 server for a whole test run, and a bucket of its own for each test."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
from typing import Any

import boto3
from botocore.config import Config

from graviton_server.targets.s3 import S3Settings
from harness.places import make_scratch
from harness.s3server import ACCESS_KEY, REGION, SECRET_KEY, S3Server

_serial = itertools.count()
_server: S3Server | None = None


def shared_server() -> S3Server:
    """Started when the first test asks, stopped when the run ends."""
    global _server
    if _server is None:
        home = make_scratch()
        _server = S3Server(home)
        atexit.register(_server.stop)
        _server.wait()
    return _server


@functools.cache
def client(endpoint: str, ca_file: str | None = None) -> Any:
    """Straight to the server, by the SDK."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        verify=ca_file,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def new_bucket(server: S3Server) -> str:
    name = f"bucket-{os.getpid()}-{next(_serial)}"
    ca_file = str(server.ca_file) if server.ca_file.exists() else None
    client(server.endpoint, ca_file).create_bucket(Bucket=name)
    return name


def settings(server: S3Server, **options: Any) -> S3Settings:
    """Of a new bucket; the credentials must be in the environment (``CREDENTIALS``)."""
    chosen: dict[str, Any] = {"endpoint": server.endpoint, "region": REGION, "attempts": 3, **options}
    if "bucket" not in chosen:
        chosen["bucket"] = new_bucket(server)
    return S3Settings(**chosen)


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
