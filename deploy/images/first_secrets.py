"""Which secrets does a first start need?  ``python -m deploy.images.first_secrets FOLDER``.

The key that signs reservation ids and ClickHouse's password: each is made once, is readable for
its owner alone, and is kept by every later start.  Nothing is printed but their file names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.local.clickhouse.process import kept_password
from deploy.local.state_dir import SECRETS_FOLDER, reservation_key_file

CLICKHOUSE_PASSWORD_FILE = "clickhouse.password"


def make(folder: Path) -> list[Path]:
    """Make the secrets that are missing in ``FOLDER/secrets``; return the files of all."""
    password_file = folder / SECRETS_FOLDER / CLICKHOUSE_PASSWORD_FILE
    key_file = reservation_key_file(folder)
    kept_password(password_file)
    return [key_file, password_file]


def main(arguments: list[str]) -> int:
    """Make the secrets in the folder that is named; return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m deploy.images.first_secrets FOLDER", file=sys.stderr)
        return 2
    for path in make(Path(arguments[0])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
