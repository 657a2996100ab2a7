"""cache(): what a view says about how its calls are shared."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta

import httpx
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.response import Response
from rest_framework.views import APIView

from django_siding import cache, gather
from django_siding.caching import said


@pytest.fixture
def ask(provider):
    return lambda prompt: httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def members(answer) -> list:
    """What each call said, in the order of the calls."""
    return [call.get("cache") for call in answer.calls]


# In the call document.


def test_a_call_without_a_block_says_nothing(siding, ask):
    [call] = siding.post(lambda request: HttpResponse(ask("x"))).calls
    assert "cache" not in call


def test_a_call_in_an_empty_block_says_nothing(siding, ask):
    def view(request):
        with cache(), cache(tags=[], ttl=None):
            return HttpResponse(ask("x"))

    [call] = siding.post(view).calls
    assert "cache" not in call


def test_a_call_says_all_that_its_block_says(siding, ask):
    def view(request):
        with cache(
            ttl=3600,
            scope="user",
            tags=["reports"],
            lookup=False,
            store=False,
            stale_if_error=timedelta(days=1),
            stale_while_revalidate=0.5,
        ):
            return HttpResponse(ask("x"))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: x", 2)
    assert members(answer) == [
        {
            "ttl_ms": 3_600_000,
            "scope": "user",
            "tags": ["reports"],
            "lookup": False,
            "store": False,
            "stale_if_error_ms": 86_400_000,
            "stale_while_revalidate_ms": 500,
        }
    ]


@pytest.mark.parametrize(
    ("options", "member"),
    [
        ({"ttl": 0}, {"ttl_ms": 0}),
        ({"scope": "none"}, {"scope": "none"}),
        ({"scope": "tenant:7"}, {"scope": "tenant:7"}),
        ({"tags": iter(["b", "a", "b"])}, {"tags": ["b", "a"]}),
        ({"lookup": True}, {"lookup": True}),
        ({"store": False}, {"store": False}),
    ],
)
def test_a_call_says_nothing_else(siding, ask, options, member):
    block = cache(**options)

    def view(request):
        with block:
            return HttpResponse(ask("x"))

    assert members(siding.post(view)) == [member]


def test_a_call_keeps_its_digest_and_name_whatever_it_says(siding, ask):
    blocks = iter([nullcontext(), cache(ttl=1, scope="user")])

    def view(request):
        with next(blocks):
            return HttpResponse(ask("x"))

    def decorated(request):
        return HttpResponse(ask("x"))

    [plain] = siding.post(view, target="/a").calls
    blocks = itertools.chain([cache(ttl=1)], itertools.repeat(cache(scope="none")))
    answer = siding.post(view, target="/a")
    [said_so] = answer.calls
    assert answer.passes == 2
    assert "Siding-Drift" not in answer.headers
    assert said_so.pop("cache") == {"ttl_ms": 1000}
    assert said_so == plain

    [plain] = siding.post(decorated).calls
    [said_so] = siding.post(cache(ttl=1)(decorated)).calls
    assert said_so.pop("cache") == {"ttl_ms": 1000}
    assert said_so == plain


def test_an_inner_block_overrides_what_it_says_and_inherits_the_rest(siding, ask):
    def view(request):
        with cache(ttl=60, scope="user", tags=["a", "b"]):
            first = ask("first")
            with cache(ttl=0, lookup=False, tags=["b", "c"]):
                second = ask("second")
            third = ask("third")
        return HttpResponse(first + second + third + ask("fourth"))

    outer = {"ttl_ms": 60_000, "scope": "user", "tags": ["a", "b"]}
    assert members(siding.post(view)) == [
        outer,
        {"ttl_ms": 0, "scope": "user", "lookup": False, "tags": ["a", "b", "c"]},
        outer,
        None,
    ]


def test_each_call_of_a_gather_says_what_holds_at_its_place(siding, ask):
    def independent(prompt):
        with cache(scope="none"):
            return ask(prompt)

    def view(request):
        with cache(ttl=5):
            answers = gather(
                lambda: ask("a"),
                lambda: independent("b"),
                cache(tags=["c"])(lambda: ask("c")),
                lambda: ask("d"),
            )
        return JsonResponse(answers, safe=False)

    answer = siding.post(view)
    assert (len(answer.json()), answer.passes) == (4, 2)
    assert members(answer) == [
        {"ttl_ms": 5000},
        {"ttl_ms": 5000, "scope": "none"},
        {"ttl_ms": 5000, "tags": ["c"]},
        {"ttl_ms": 5000},
    ]


def test_a_call_made_in_line_is_made_as_ever(siding, ask, provider):
    siding.proxy.offering = False

    def chunks():
        yield ask("x")

    @cache(ttl=60, scope="user")
    def view(request):
        return StreamingHttpResponse(chunks())

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: x", 1)
    assert not [name for headers in provider.headers for name in headers if "siding" in name]


# As a decorator.


def test_a_view_a_method_and_any_function_can_be_decorated(siding, ask):
    @cache(tags=["function"])
    def helper(prompt):
        """Asks."""
        return ask(prompt)

    class Decorated(View):
        @cache(ttl=timedelta(hours=1))
        def post(self, request):
            return HttpResponse(helper("x"))

    @method_decorator(cache(ttl=1), name="dispatch")
    class Dispatched(View):
        def post(self, request):
            return HttpResponse(ask("x"))

    class Rest(APIView):
        @cache(scope="user")
        def post(self, request):
            return Response(ask(request.data["prompt"]))

    assert (helper.__name__, helper.__doc__) == ("helper", "Asks.")
    view = cache(scope="none")(lambda request: HttpResponse(ask("x")))
    assert members(siding.post(view)) == [{"scope": "none"}]
    assert members(siding.post(Decorated.as_view())) == [
        {"ttl_ms": 3_600_000, "tags": ["function"]}
    ]
    assert members(siding.post(Dispatched.as_view())) == [{"ttl_ms": 1000}]
    assert members(siding.post(Rest.as_view(), {"prompt": "x"})) == [{"scope": "user"}]


def test_a_decorated_view_that_streams_is_covered_to_the_end(siding, ask):
    def chunks():
        yield "start, "
        yield ask("a")
        with cache(scope="none"):
            yield ask("b")

    @cache(ttl=60)
    def view(request):
        return StreamingHttpResponse(chunks())

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("start, echo: aecho: b", 3)
    assert members(answer) == [{"ttl_ms": 60_000}, {"ttl_ms": 60_000, "scope": "none"}]


def test_a_decorated_generator_is_covered_and_its_consumer_is_not(siding, ask):
    @cache(ttl=60)
    def answers():
        yield ask("inside")
        yield ask("inside too")

    def view(request):
        return HttpResponse("".join(text + ask("outside") for text in answers()))

    one, none = {"ttl_ms": 60_000}, None
    assert members(siding.post(view)) == [one, none, one, none]


def test_a_decorated_generator_takes_values_and_exceptions_and_returns():
    closed = []

    @cache(ttl=1)
    def generator():
        try:
            received = yield said()
            try:
                yield received
            except ValueError:
                yield said()
            yield "not reached"
        finally:
            closed.append(said())

    steps = generator()
    assert next(steps) == {"ttl_ms": 1000}
    assert steps.send("value") == "value"
    assert steps.throw(ValueError()) == {"ttl_ms": 1000}
    assert said() == {}
    steps.close()
    assert closed == [{"ttl_ms": 1000}]

    @cache(ttl=1)
    def inner():
        yield 1
        return 2

    def outer():
        return (yield from inner())

    steps = outer()
    assert next(steps) == 1
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == 2


def test_a_decorated_generator_may_be_a_context_manager():
    @contextmanager
    @cache(ttl=1)
    def manager():
        try:
            yield said()
        except KeyError:
            pass

    with manager() as inside:
        assert (inside, said()) == ({"ttl_ms": 1000}, {})
        raise KeyError


def test_a_decorated_coroutine_and_asynchronous_generator_are_covered():
    @cache(ttl=1)
    async def coroutine():
        await asyncio.sleep(0)
        return said()

    @cache(ttl=2)
    async def generator():
        yield said()
        await asyncio.sleep(0)
        yield said()

    async def main():
        return [await coroutine()] + [(item, said()) async for item in generator()]

    assert iscoroutinefunction(coroutine)
    assert asyncio.run(main()) == [{"ttl_ms": 1000}] + [({"ttl_ms": 2000}, {})] * 2


def test_a_class_cannot_be_decorated_and_is_told_what_can():
    with pytest.raises(TypeError, match=r"decorate the method .*, such as post\(\)"):
        cache(ttl=1)(View)
    with pytest.raises(TypeError, match="decorates functions, not 3"):
        cache(ttl=1)(3)


# Threads, tasks and what is left behind.


def test_a_block_is_left_when_the_view_fails(siding, ask):
    def view(request):
        try:
            with cache(ttl=60):
                raise ValueError
        except ValueError:
            return HttpResponse(ask("x"))

    assert members(siding.post(view)) == [None]


def test_one_block_may_be_entered_again_inside_of_itself():
    block = cache(ttl=1)
    with block:
        with block:
            assert said() == {"ttl_ms": 1000}
        assert said() == {"ttl_ms": 1000}
    assert said() == {}


def test_one_block_in_many_threads_is_one_for_each():
    block = cache(ttl=1)
    barrier = threading.Barrier(4, timeout=10)
    seen = []

    def run(number):
        with block if number % 2 else nullcontext():
            barrier.wait()
            seen.append((number, said()))
            barrier.wait()
        seen.append((number, said()))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    inside = [{"ttl_ms": 1000} if number % 2 else {} for number in range(4)]
    assert sorted(seen[:4], key=lambda item: item[0]) == list(enumerate(inside))
    assert [what for _, what in seen[4:]] == [{}] * 4


def test_a_block_in_a_task_is_not_in_another():
    async def inside(ttl):
        with cache(ttl=ttl):
            await asyncio.sleep(0)
            return said()

    async def main():
        with cache(scope="user"):
            return await asyncio.gather(inside(1), inside(2))

    assert asyncio.run(main()) == [
        {"scope": "user", "ttl_ms": 1000},
        {"scope": "user", "ttl_ms": 2000},
    ]


def test_a_call_that_asynchronous_code_hands_back_to_the_views_thread_is_covered(siding, ask):
    async def work():
        with cache(ttl=60):
            return await sync_to_async(ask)("x")

    def view(request):
        with cache(scope="user"):
            return HttpResponse(async_to_sync(work)())

    assert members(siding.post(view)) == [{"scope": "user", "ttl_ms": 60_000}]


def test_generators_may_leave_their_blocks_in_another_order():
    def generator(**options):
        with cache(**options):
            yield

    first, second = generator(ttl=1), generator(scope="none")
    next(first), next(second)
    first.close()
    assert said() == {"scope": "none"}
    second.close()
    assert said() == {}


def test_an_abandoned_generator_says_nothing_about_the_next_request(siding, ask):
    def abandoned():
        with cache(scope="tenant:1"):
            yield

    kept = []

    def view(request):
        text = ask("x")
        kept.append(abandoned())
        next(kept[-1])
        return HttpResponse(text)

    assert members(siding.post(view)) == [None]
    assert members(siding.post(view)) == [None]
    with cache(ttl=1):
        assert members(siding.post(view)) == [None]
        assert said() == {"ttl_ms": 1000}
    assert said() == {}


# What can be said.


@pytest.mark.parametrize(
    ("ttl", "ms"),
    [
        (0, 0),
        (0.0, 0),
        (0.0001, 1),
        (1.1, 1100),
        (60, 60_000),
        (timedelta(0), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(hours=1), 3_600_000),
        (timedelta(days=36525), 3_155_760_000_000),
    ],
)
def test_times_are_seconds_or_timedeltas(ttl, ms):
    for name in ("ttl", "stale_if_error", "stale_while_revalidate"):
        with cache(**{name: ttl}):
            assert said() == {f"{name}_ms": ms}


@pytest.mark.parametrize("name", ["ttl", "stale_if_error", "stale_while_revalidate"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("3600", TypeError, r"{}=3600 or {}=timedelta\(hours=1\), not '3600'"),
        (True, TypeError, "must be seconds or a timedelta"),
        (-1, ValueError, "{} must be from 0 to 36525 days, not -1"),
        (timedelta(seconds=-1), ValueError, "must be from 0"),
        (float("nan"), ValueError, "must be from 0"),
        (float("inf"), ValueError, "must be from 0"),
        (10**400, ValueError, "must be from 0"),
        (timedelta.max, ValueError, "must be from 0"),
    ],
)
def test_other_times_are_refused_at_once(name, value, error, message):
    with pytest.raises(error, match=message.replace("{}", name)):
        cache(**{name: value})


@pytest.mark.parametrize("scope", ["app", "user", "none", "t", "Tenant.7:a_b-c", "x" * 64])
def test_scopes_are_words_or_names(scope):
    with cache(scope=scope):
        assert said() == {"scope": scope}


@pytest.mark.parametrize(
    ("scope", "error", "message"),
    [
        ("", ValueError, '"app", "user", "none" or a name of your own'),
        ("x" * 65, ValueError, "1 to 64 of the characters"),
        ("tenant 7", ValueError, "not 'tenant 7'"),
        ("tenant\n", ValueError, "1 to 64"),
        ("straße", ValueError, "1 to 64"),
        ("User", ValueError, 'scope must be "user" in lower case'),
        (7, TypeError, 'such as f"tenant:{id}", not 7'),
        (False, TypeError, "not False"),
    ],
)
def test_other_scopes_are_refused_at_once(scope, error, message):
    with pytest.raises(error) as raised:
        cache(scope=scope)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("tags", "error", "message"),
    [
        ("reports", TypeError, "such as tags=[\"reports\"], not 'reports'"),
        (b"reports", TypeError, "must be a list of strings"),
        (3, TypeError, "must be a list of strings"),
        ([3], TypeError, "a tag must be a string"),
        ([""], ValueError, "a tag must be 1 to 64"),
        (["a", "x" * 65], ValueError, "a tag must be 1 to 64"),
        (["a b"], ValueError, "not 'a b'"),
        (map(str, range(17)), ValueError, "at most 16 tags in a block, not 17"),
    ],
)
def test_other_tags_are_refused_at_once(tags, error, message):
    with pytest.raises(error) as raised:
        cache(tags=tags)
    assert message in str(raised.value)


def test_blocks_have_sixteen_tags_together():
    ten = [f"a{number}" for number in range(10)]
    with cache(tags=ten):
        with cache(tags=[*ten, *"bcdefg"]):
            assert len(said()["tags"]) == 16
        with pytest.raises(ValueError, match="tags together"), cache(tags=list("bcdefgh")):
            pass
        assert said() == {"tags": ten}


@pytest.mark.parametrize("name", ["lookup", "store"])
@pytest.mark.parametrize("value", [0, "no", "False"])
def test_other_flags_are_refused_at_once(name, value):
    with pytest.raises(TypeError, match=f"{name} must be True or False, not {value!r}"):
        cache(**{name: value})


def test_values_have_names_only():
    with pytest.raises(TypeError, match="positional"):
        cache(3600)
    with pytest.raises(TypeError, match="expires"):
        cache(expires=3600)


def test_a_bare_decorator_is_refused_at_once():
    with pytest.raises(TypeError, match="positional"):

        @cache
        def view(request):
            pass


def test_what_is_not_a_stream_is_returned_as_it_is():
    response = HttpResponse()
    request = RequestFactory().get("/")
    with ExitStack() as stack:
        stack.enter_context(cache(ttl=1))
        assert cache(ttl=2)(lambda request: response)(request) is response
