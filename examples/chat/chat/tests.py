"""manage.py test: the project itself, with the calls replaced."""

from unittest import mock

import openai
from django.contrib.auth import get_user_model
from django.test import Client, TestCase
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

    def test_an_answer_is_one_row_after_the_call_and_needs_no_token(self):
        with mock.patch("chat.completion.by_openai", return_value="Hello"), self.assertNumQueries(1):
            response = Client().post("/api/ask/", {"prompt": "Hi"}, content_type="application/json")
        self.assertEqual(response.json(), {"answer": "Hello"})
        self.assertEqual(list(Answer.objects.values_list("prompt", "text")), [("Hi", "Hello")])
