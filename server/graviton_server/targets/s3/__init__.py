"""A bucket as a target: the only place that knows boto3."""

from graviton_server.targets.s3.settings import S3Settings
from graviton_server.targets.s3.target import S3Target

__all__ = ["S3Settings", "S3Target"]
