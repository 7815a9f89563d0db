"""graviton completion, and the names that a shell is offered."""

from __future__ import annotations

import os
import stat

import click

from graviton_server.cli import output
from graviton_server.cli.places import place

_NAMES_MAX = 500


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  graviton completion bash > ~/.local/share/bash-completion/completions/graviton
    zsh:   graviton completion zsh > ~/.zfunc/_graviton    (with ~/.zfunc in $fpath)
    fish:  graviton completion fish > ~/.config/fish/completions/graviton.fish
    """
    from click.shell_completion import get_completion_class

    from graviton_server.cli.app import cli

    found = get_completion_class(shell)
    assert found is not None
    output.line(found(cli, {}, "graviton", "_GRAVITON_COMPLETE").source())


def volume_names(incomplete: str) -> list[str]:
    """Paths of a volume that begin so; nothing where it cannot be asked."""
    from graviton_server.cli.opening import reach
    from graviton_server.control.requests import ListNames
    from gravitonfs.errors import GravitonError

    text, _, beginning = incomplete.rpartition("/")
    try:
        where = place(text + "/")
        with reach(where.data, "completion") as caller:
            page = caller.call(ListNames(path=where.path, limit=_NAMES_MAX))
    except (GravitonError, OSError):
        return []
    return [
        f"{text}/{os.fsdecode(node.name)}{'/' if stat.S_ISDIR(node.mode) else ''}"
        for node in page.nodes
        if node.name.startswith(os.fsencode(beginning))
    ]
