"""The HTTP API: blobs, files, resumable uploads, administration, health and metrics.

falcon on the gateway's own HTTP/1.1 connections (``graviton_webdav.http_server``): bounded bodies, ranges and
conditional requests are the same code.
"""
