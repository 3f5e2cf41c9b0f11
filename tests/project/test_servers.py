from __future__ import annotations

import psycopg
import pymysql
import pytest

from tests.mariadb import MariaDBServer, start_mariadb
from tests.servers import PostgresServer, start_postgres

pytestmark = pytest.mark.postgres


def answer(uri: str, statement: str) -> object:
    with psycopg.connect(uri) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_tcp_and_socket_answer(postgres_server: PostgresServer) -> None:
    assert answer(postgres_server.uri(), "SELECT 40 + 2") == 42
    assert answer(postgres_server.socket_uri(), "SELECT current_user") == "postgres"


def test_a_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.uri(password="wrong"))


def test_text_is_unicode(postgres_uri: str) -> None:
    assert answer(postgres_uri, "SELECT 'Zoë Łukasz 北京'") == "Zoë Łukasz 北京"


def test_fresh_databases_are_empty_and_apart(fresh_postgres_database: str, postgres_server: PostgresServer) -> None:
    with psycopg.connect(fresh_postgres_database) as connection:
        connection.execute("CREATE TABLE only_here (x int)")
    other = postgres_server.create_database()
    count = "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"
    assert answer(postgres_server.uri(other), count) == 0
    assert answer(fresh_postgres_database, count) == 1


def test_stops_while_a_client_is_connected() -> None:
    server = start_postgres()
    client = psycopg.connect(server.uri())
    server.stop()
    assert server.process.returncode == 0
    assert not server.folder.exists()
    client.close()


@pytest.mark.mariadb
class TestMariaDB:
    def test_it_answers_in_unicode(self, mariadb_server: MariaDBServer) -> None:
        text = "Zoë Łukasz 北京 🙂"
        assert mariadb_server.execute("SELECT 40 + 2, %s", values=[text]) == [(42, text)]

    def test_a_wrong_password_is_refused(self, mariadb_server: MariaDBServer) -> None:
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            mariadb_server.connect(password="wrong")

    def test_fresh_databases_are_empty_and_apart(
        self, fresh_mariadb_database: str, mariadb_server: MariaDBServer
    ) -> None:
        name = fresh_mariadb_database.rsplit("/", 1)[1]
        mariadb_server.execute("CREATE TABLE only_here (x int)", name)
        other = mariadb_server.create_database()
        count = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'only_here' AND table_schema = %s"
        assert [mariadb_server.execute(count, values=[each]) for each in (name, other)] == [[(1,)], [(0,)]]

    def test_it_keeps_its_data_over_a_crash(self) -> None:
        server = start_mariadb()
        try:
            server.execute("CREATE TABLE kept AS SELECT 7 AS x")
            server.shut_down()
            server.start_again()
            assert server.execute("SELECT x FROM kept") == [(7,)]
            server.crash()
            server.start_again()
        finally:
            server.stop()
        assert not server.folder.exists()
