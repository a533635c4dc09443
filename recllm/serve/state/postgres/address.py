"""Which database, and where in it."""

import re
from dataclasses import dataclass, field
from typing import Self, final

from recllm.errors import ConfigError, require

DEFAULT_SCHEMA = "recllm"

_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,47}")


@final
@dataclass(frozen=True)
class Address:
    """A schema of a Postgres database: one shop.

    Attributes:
        conninfo: How libpq gets there; it may hold a password.
        schema: Where all tables of the shop are.
        name: For sentences; it holds no password.
    """

    conninfo: str = field(repr=False)
    schema: str
    name: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `postgresql://user@host:5432/database?schema=shop`; other parameters are libpq's own.

        Raises:
            ConfigError: It is none.
        """
        require("psycopg", "scale")
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        place, _, query = text.partition("?")
        pairs = query.split("&") if query else []
        asked = [pair for pair in pairs if pair.startswith("schema=")]
        schema = asked[-1].removeprefix("schema=") if asked else DEFAULT_SCHEMA
        if not _SCHEMA.fullmatch(schema):
            raise ConfigError(
                f"{schema[:60]!r} is no schema for a shop; write up to 48 small letters, digits and underscores, such "
                "as ?schema=shop."
            )
        conninfo = f"{place}?{'&'.join(pair for pair in pairs if pair not in asked)}"
        try:
            found = conninfo_to_dict(conninfo)
        except ProgrammingError as error:
            raise ConfigError(
                f"the address of the database cannot be read ({str(error).splitlines()[0][:80]}); write "
                "postgresql://user@host:5432/database?schema=shop."
            ) from error
        where = found.get("host") or found.get("hostaddr") or "this machine"
        port = f":{found['port']}" if found.get("port") else ""
        return cls(conninfo, schema, f"{where}{port}/{found.get('dbname') or found.get('user') or ''}, schema {schema}")
