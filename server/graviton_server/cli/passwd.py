"""graviton passwd."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from graviton_server.cli import output
from graviton_server.cli.params import FILE


@click.command()
@click.argument("file", type=FILE)
@click.argument("user")
@click.option("--delete", is_flag=True, help="Remove the user.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
def passwd(file: str, user: str, delete: bool, from_stdin: bool) -> None:
    """Set the password of USER in FILE, the users file of 'up' and 'webdav' (--users).

    The file keeps hashes only. A gateway that uses it follows changes at once.
    """
    from graviton_webdav import passwords

    path = Path(file)
    if delete:
        passwords.remove_user(path, user)
        output.say(f"{user} is removed from {file}")
        return
    passwords.check_user(user)
    if from_stdin or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    new = passwords.set_password(path, user, password)
    output.say(f"{user} is {'added to' if new else 'changed in'} {file}")
