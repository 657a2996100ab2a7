"""manage.py seed: users with tokens, for demos and load tests."""

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from rest_framework.authtoken.models import Token


class Command(BaseCommand):
    """Creates what is missing and prints one token a line."""

    help = "Creates users user0, user1, ... with API tokens and prints the tokens."

    def add_arguments(self, parser):
        parser.add_argument("--users", type=int, default=1)

    def handle(self, *, users, **options):
        for n in range(users):
            user, _ = get_user_model().objects.get_or_create(username=f"user{n}")
            token, _ = Token.objects.get_or_create(user=user)
            self.stdout.write(token.key)
