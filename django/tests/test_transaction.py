"""The view's transaction begins with its first use of the database, whatever that is."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from project.app.models import Note


@pytest.fixture
def ask(provider):
    return lambda prompt: httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def notes() -> list[str]:
    return list(Note.objects.order_by("pk").values_list("text", flat=True))


def test_a_pass_that_never_uses_the_database_begins_nothing(siding, ask):
    def view(request):
        return HttpResponse(ask("x"))

    with CaptureQueriesContext(connection) as queries:
        assert siding.post(view).passes == 2
    assert [query["sql"] for query in queries] == []


def test_rows_written_first_roll_back_with_their_pass(siding, ask):
    def view(request):
        Note.objects.create(text="first")
        ask("x")
        Note.objects.create(text="second")
        return HttpResponse()

    with CaptureQueriesContext(connection) as queries:
        assert siding.post(view).passes == 2
    assert notes() == ["first", "second"]
    assert [sql for sql in map(word, queries) if sql in ("BEGIN", "ROLLBACK", "COMMIT")] == [
        "BEGIN",
        "ROLLBACK",
        "BEGIN",
        "COMMIT",
    ]


def word(query: dict[str, str]) -> str:
    return query["sql"].split()[0]


def test_a_block_of_the_views_own_is_inside_the_transaction(siding, ask):
    def view(request):
        with transaction.atomic():
            Note.objects.create(text="inner")
        assert connection.in_atomic_block
        Note.objects.create(text="outer")
        ask("x")
        return HttpResponse()

    assert siding.post(view).passes == 2
    assert notes() == ["inner", "outer"]


def test_a_block_that_fails_undoes_itself_alone(siding, ask):
    def view(request):
        try:
            with transaction.atomic():
                Note.objects.create(text="inner")
                raise ValueError
        except ValueError:
            Note.objects.create(text="outer")
        ask("x")
        return HttpResponse()

    siding.post(view)
    assert notes() == ["outer"]


def test_hooks_before_any_query_run_once_at_the_commit(siding, ask):
    ran = []

    def view(request):
        transaction.on_commit(lambda: ran.append(connection.in_atomic_block))
        ask("x")
        assert ran == []
        return HttpResponse()

    assert siding.post(view).passes == 2
    assert ran == [False]


def test_a_hook_of_an_exception_never_runs(siding, ask):
    ran = []

    def view(request):
        transaction.on_commit(lambda: ran.append(1))
        Note.objects.create(text="lost")
        ask("x")
        raise ValueError

    assert siding.post(view).status == 500
    assert (ran, notes()) == ([], [])


def test_transactions_by_hand_are_refused_before_any_query_too(siding):
    def view(request):
        for by_hand in (
            lambda: transaction.set_autocommit(False),
            transaction.commit,
            transaction.rollback,
        ):
            with pytest.raises(TransactionManagementError):
                by_hand()
        return HttpResponse()

    assert siding.post(view).status == 200


def test_a_row_can_be_locked_by_the_first_query(siding, ask):
    Note.objects.create(text="locked")

    def view(request):
        text = Note.objects.select_for_update().get().text
        return HttpResponse(text + ask("x"))

    assert siding.post(view).status == 200


def test_each_database_begins_by_itself(siding, ask):
    def view(request):
        Note.objects.using("other").create(text="other")
        began = (connections["default"].in_atomic_block, connections["other"].in_atomic_block)
        assert began == (False, True)
        ask("x")
        return HttpResponse()

    siding.post(view)
    assert Note.objects.using("other").count() == 1


def test_a_database_that_cannot_be_reached_at_first_still_gets_its_transaction(
    siding, ask, monkeypatch
):
    real, failures = transaction.Atomic.__enter__, [DatabaseError("gone")]

    def flaky(self):
        if failures:
            raise failures.pop()
        real(self)

    def view(request):
        with suppress(DatabaseError):
            notes()
        Note.objects.create(text="once")
        ask("x")
        return HttpResponse()

    monkeypatch.setattr(transaction.Atomic, "__enter__", flaky)
    siding.post(view)
    assert (failures, notes()) == ([], ["once"])


def test_outside_a_view_nothing_waits(siding, ask):
    def view(request):
        ask("x")
        return HttpResponse()

    siding.post(view)
    Note.objects.create(text="plain")
    assert not connection.in_atomic_block


def test_a_connection_is_made_before_the_transaction_begins(siding, ask):
    kept = []

    def view(request):
        # As with connections that are closed after each request; the database is in memory.
        kept.append(connection.connection)
        connection.connection = None
        Note.objects.create(text="new connection")
        ask("x")
        return HttpResponse()

    answer = siding.post(view)
    for raw in kept:
        raw.close()
    assert (answer.status, answer.passes, notes()) == (200, 2, ["new connection"])
