"""manage.py test: the project itself, with the calls replaced."""

import importlib.util
from unittest import mock, skipUnless

import openai
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client, SimpleTestCase, TestCase, override_settings
from project.database import database
from rest_framework.authtoken.models import Token

from chat.models import Answer, Message


class ChatTest(TestCase):
    """What a chat writes and answers."""

    def setUp(self):
        user = get_user_model().objects.create(username="someone")
        self.client = Client(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=user).key}")

    def chat(self, **body):
        return self.client.post("/api/chat/", body, content_type="application/json")

    def test_a_chat_writes_the_prompt_and_the_answer(self):
        with mock.patch("chat.completion.by_openai", return_value="Hello"):
            response = self.chat(prompt="Hi")
        self.assertEqual(response.json()["answer"], "Hello")
        self.assertEqual(list(Message.objects.values_list("role", "text")), [("user", "Hi"), ("assistant", "Hello")])

    def test_a_conversation_goes_on(self):
        with mock.patch("chat.completion.by_openai", return_value="Hello") as complete:
            number = self.chat(prompt="Hi").json()["conversation"]
            self.chat(prompt="And?", conversation=number)
        self.assertEqual([message["content"] for message in complete.call_args.args[0]], ["Hi", "Hello", "And?"])

    def test_a_time_out_is_a_504_and_keeps_the_prompt(self):
        with mock.patch("chat.completion.by_openai", side_effect=openai.APITimeoutError(request=mock.Mock())):
            response = self.chat(prompt="Hi")
        self.assertEqual((response.status_code, Message.objects.count()), (504, 1))

    def test_chats_need_a_token_and_the_fast_view_does_not(self):
        self.assertEqual(Client().post("/api/chat/").status_code, 401)
        with self.assertNumQueries(0):
            self.assertEqual(Client().get("/api/fast/").status_code, 200)

    def test_whoever_may_call_a_model_is_told_apart_by_token_and_throttled(self):
        key = self.client.defaults["HTTP_AUTHORIZATION"].removeprefix("Token ")
        with mock.patch("chat.views.authorize.CallThrottle.rate", "2/min"):
            statuses = [
                Client(HTTP_AUTHORIZATION=f"{word} {given}").get("/internal/llm-auth/").status_code
                for word, given in [("Bearer", key), ("Token", key), ("Bearer", "other"), ("Bearer", key)]
            ]
        self.assertEqual(statuses, [204, 204, 401, 429])

    def test_an_answer_is_one_row_after_the_call_and_needs_no_token(self):
        with mock.patch("chat.completion.by_openai", return_value="Hello"), self.assertNumQueries(1):
            response = Client().post("/api/ask/", {"prompt": "Hi"}, content_type="application/json")
        self.assertEqual(response.json(), {"answer": "Hello"})
        self.assertEqual(list(Answer.objects.values_list("prompt", "text")), [("Hi", "Hello")])

    @skipUnless(importlib.util.find_spec("adrf"), "needs adrf")
    @override_settings(ROOT_URLCONF="project.async_urls")
    async def test_the_async_view_answers_and_writes_as_the_sync_one_does(self):
        with mock.patch("chat.completion.by_async_openai", return_value="Hello"):
            response = await AsyncClient().post("/api/ask/", {"prompt": "Hi"}, content_type="application/json")
        self.assertEqual(response.json(), {"answer": "Hello"})
        self.assertEqual([(row.prompt, row.text) async for row in Answer.objects.all()], [("Hi", "Hello")])


class DatabaseTest(SimpleTestCase):
    """What DATABASE_URL means."""

    def test_connections_are_kept_unless_the_url_says_otherwise(self):
        for url in ("postgres://someone@localhost:5432/chat", "sqlite:////tmp/chat.sqlite3"):
            self.assertIsNone(database(url)["CONN_MAX_AGE"])
            self.assertEqual(database(f"{url}?conn_max_age=0")["CONN_MAX_AGE"], 0)

    def test_a_postgres_url_is_taken_apart(self):
        found = database("postgres://some%20one:secret@localhost:5432/chat?conn_max_age=5")
        self.assertEqual((found["USER"], found["PASSWORD"], found["NAME"]), ("some one", "secret", "chat"))
