"""JDBC URLs become what libpq understands."""

from __future__ import annotations

import pytest

from graviton_server.config.jdbc import parse_jdbc
from gravitonfs.errors import Invalid


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("//postgres:5432/graviton", {"host": "postgres", "port": "5432", "dbname": "graviton"}),
        ("//db/g", {"host": "db", "port": "5432", "dbname": "g"}),
        ("graviton", {"dbname": "graviton"}),
        ("//a:1,b,[::1]:3/g", {"host": "a,b,::1", "port": "1,5432,3", "dbname": "g"}),
        ("//[fe80::1%25eth0]/g", {"host": "fe80::1%eth0", "port": "5432", "dbname": "g"}),
        ("//db/my%20base%2F1", {"host": "db", "port": "5432", "dbname": "my base/1"}),
        ("//db/", {"host": "db", "port": "5432"}),
        ("///g", {"host": "localhost", "port": "5432", "dbname": "g"}),
        ("g?user=u&password=p%40%26", {"dbname": "g", "user": "u", "password": "p@&"}),
        ("g?sslmode=verify-full&sslrootcert=/ca.pem",
         {"dbname": "g", "sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("g?ssl=true", {"dbname": "g", "sslmode": "verify-full"}),
        ("g?ssl=true&sslmode=require", {"dbname": "g", "sslmode": "require"}),
        ("g?targetServerType=primary", {"dbname": "g", "target_session_attrs": "read-write"}),
        ("g?targetServerType=preferSecondary", {"dbname": "g", "target_session_attrs": "prefer-standby"}),
        ("g?loadBalanceHosts=true", {"dbname": "g", "load_balance_hosts": "random"}),
        ("g?connectTimeout=5&socketTimeout=7",
         {"dbname": "g", "connect_timeout": "5", "tcp_user_timeout": "7000"}),
        ("g?currentSchema=s&ApplicationName=x",
         {"dbname": "g", "options": "-c search_path=s", "application_name": "x"}),
    ],
)  # fmt: skip
def test_urls(url: str, expected: dict[str, str]) -> None:
    assert parse_jdbc(f"jdbc:postgresql:{url}").conninfo == expected


@pytest.mark.parametrize(
    "url", ["postgresql://db/g", "jdbc:mysql://db/g", "jdbc:postgresql://a:b/g", "jdbc:postgresql://a:99999/g",
            "jdbc:postgresql://db/g?sslmode=maybe", "jdbc:postgresql://db/g?targetServerType=best"],
)  # fmt: skip
def test_what_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="expected"):
        parse_jdbc(url)


def test_what_only_java_knows_is_told() -> None:
    found = parse_jdbc("jdbc:postgresql:g?prepareThreshold=0&reWriteBatchedInserts=true")
    assert found.ignored == ("prepareThreshold", "reWriteBatchedInserts")
