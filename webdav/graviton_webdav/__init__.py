"""The WebDAV front end."""
