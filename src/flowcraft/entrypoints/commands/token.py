"""`flowcraft token`: create a signed token for development."""

from __future__ import annotations

import os
import time

import click
import msgspec

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.entrypoints.commands.exit_status import USAGE, example, fail

SECRET = "FLOWCRAFT_TOKEN_SECRET"  # noqa: S105  # the name of a variable


@click.command(
    "token",
    epilog=example(
        "FLOWCRAFT_TOKEN_SECRET=… flowcraft token ada",
        """flowcraft token ada --minutes 5 --claims '{"role": "admin"}'""",
    ),
)
@click.argument("subject", metavar="SUBJECT", help="The viewer: the claim `sub`.")
@click.option(
    "--minutes", help="Minutes until the token expires.", type=click.FloatRange(min=0.01), default=60.0
)
@click.option("--claims", metavar="JSON", help="Additional claims, as a JSON object.", default="{}")
@click.option("--audience", help="The claim `aud`.")
@click.option("--issuer", help="The claim `iss`.")
def command(subject: str, minutes: float, claims: str, audience: str | None, issuer: str | None) -> None:
    """Print a token that a JwtAuthorizer accepts, signed with HS256.

    The secret comes from the environment variable FLOWCRAFT_TOKEN_SECRET, never from the command line, which
    other users of the machine can read. For development and tests: in production, your login issues tokens.
    """
    import jwt  # the other commands start sooner without it

    secret = os.environ.get(SECRET)
    if not secret:
        fail(f"set {SECRET} to the secret of your JwtAuthorizer", USAGE)
    try:
        JwtAuthorizer(secret)
    except ValueError as error:
        fail(f"{SECRET}: {error}", USAGE)
    now = int(time.time())
    standard = {"sub": subject, "iat": now, "exp": now + round(60 * minutes), "aud": audience, "iss": issuer}
    whole = _object(claims) | {name: value for name, value in standard.items() if value is not None}
    click.echo(jwt.encode(whole, secret, algorithm="HS256"))


def _object(text: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        fail(f'--claims must be a JSON object, such as \'{{"role": "admin"}}\': {error}', USAGE)
