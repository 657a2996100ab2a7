"""SQLite as several processes need it: write-ahead log, and transactions that take the write lock first.

A transaction that reads and then writes cannot wait for another writer: SQLite fails it at once, whatever
the time-out. Taking the lock at BEGIN makes it wait instead. Django 5.1 has a setting for this; 4.2 has not.
"""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own backend with those two changes."""

    def get_new_connection(self, conn_params):
        connection = super().get_new_connection(conn_params)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _start_transaction_under_autocommit(self):
        self.cursor().execute("BEGIN IMMEDIATE")
