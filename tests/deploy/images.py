"""A Dockerfile carried out without Docker: its own steps, in a clean Debian root made by debootstrap."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dockerfile_parse import DockerfileParser

DEBIAN = "debian:bookworm-slim"
_MIRROR = "http://deb.debian.org/debian"
_HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def parsed(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, value), continued lines joined and comments left out."""
    parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes()))
    found = [(one["instruction"], one["value"]) for one in parser.structure]
    return [(name, value) for name, value in found if name != "COMMENT"]


class Image:
    """A root directory and what the instructions say of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.user = "root"
        self.directory = "/"
        self.settings: dict[str, str] = {}

    def copied_to(self, root: Path) -> Image:
        subprocess.run(["cp", "-a", self.root, root], check=True)
        made = Image(root)
        made.environment = dict(self.environment)
        made.user, made.directory, made.settings = self.user, self.directory, dict(self.settings)
        return made

    def run(self, command: str, *, isolated: bool = False, timeout: float = 600) -> str:
        """As the image's user, by its shell. ``isolated``: with a loopback of its own and nothing else."""
        places = [f"mount --rbind /{name} {self.root}/{name}" for name in ("dev", "sys")]
        places.append(f"mount -t proc proc {self.root}/proc")
        if isolated:
            places.append("ip link set lo up")
        variables = shlex.join(f"{name}={value}" for name, value in self.environment.items())
        inside = f"cd {shlex.quote(self.directory)} || exit\n{command}"
        enter = f"exec chroot --userspec={self.user} {self.root} env -i {variables} HOME=/tmp /bin/sh -c"
        script = " && ".join([*places, f"{enter} {shlex.quote(inside)}"])
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", *(["--net"] if isolated else [])]
        done = subprocess.run(
            ["unshare", *namespaces, "/bin/sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


class Builder:
    """Stages below ``home``; ``context`` is what COPY copies from."""

    def __init__(self, home: Path, context: Path) -> None:
        self._home = home
        self._context = context
        self.images: dict[str, Image] = {}
        self._debian = home / "debian"
        command = ["debootstrap", "--variant=minbase", "bookworm", self._debian, _MIRROR]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        shutil.copy("/etc/resolv.conf", self._debian / "etc" / "resolv.conf")

    def build(self, dockerfile: Path) -> dict[str, Image]:
        image: Image | None = None
        for name, value in parsed(dockerfile):
            if name == "FROM":
                source, _, stage = value.split()
                known = source == DEBIAN or source in self.images
                image = self._stage(source, stage) if known else None  # none of another project's images
            elif image is not None:
                self._carry_out(image, name, value)
        return self.images

    def _stage(self, source: str, name: str) -> Image:
        base = Image(self._debian) if source == DEBIAN else self.images[source]
        self.images[name] = base.copied_to(self._home / name)
        return self.images[name]

    def _carry_out(self, image: Image, name: str, value: str) -> None:
        if name == "RUN":
            self._run(image, value)
        elif name == "COPY":
            self._copy(image, shlex.split(value))
        elif name == "ENV":
            image.environment |= dict(one.split("=", 1) for one in shlex.split(value))
        elif name == "WORKDIR":
            image.directory = value
            (image.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            image.user = value
        else:
            image.settings[name] = value

    def _run(self, image: Image, command: str) -> None:
        """With the certificates that this machine reaches the registries by."""
        outer = dict(image.environment)
        if _HOST_CERTIFICATES.exists():
            shutil.copy(_HOST_CERTIFICATES, image.root / "tmp" / "registries.crt")
            image.environment["PIP_CERT"] = "/tmp/registries.crt"
        image.run(command, timeout=900)
        image.environment = outer
        (image.root / "tmp" / "registries.crt").unlink(missing_ok=True)

    def _copy(self, image: Image, words: Sequence[str]) -> None:
        source = self._context
        if words[0].startswith("--from="):
            source = self.images[words[0].removeprefix("--from=")].root
            words = words[1:]
        *names, into = words
        target = image.root / (Path(image.directory) / into).as_posix().lstrip("/")
        for name in names:
            one = source / name.lstrip("/")
            if one.is_dir():  # a directory's contents, not itself
                ignored = shutil.ignore_patterns("__pycache__") if source == self._context else None
                shutil.copytree(one, target, symlinks=True, dirs_exist_ok=True, ignore=ignored)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(one, target / one.name)


def command_of(value: str) -> list[str]:
    """The JSON form of CMD, ENTRYPOINT and HEALTHCHECK."""
    words: list[str] = json.loads(value[value.index("[") :])
    return words
