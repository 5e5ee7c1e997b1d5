"""Container names and ids: docker's rules for what is allowed, and made-up names for those who give none.

Owns the word lists. Uniqueness is the database's work.
"""

from __future__ import annotations

import os
import re

from engine.errors import InvalidInput

ALLOWED = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_ADJECTIVES = (
    "able agile alert amber apt astute balmy bold brave breezy bright brisk calm candid cheery civil clear clever cosy "
    "crisp daring deft eager earnest even fair fleet fond frank fresh gentle glad golden hardy hearty honest humble "
    "jolly keen kind lively loyal lucid mellow merry mild modest neat nimble noble patient placid plucky polite proud "
    "quick quiet rapid ready robust rosy serene sharp silent sincere sleek smart snug sober solid spry stable steady "
    "sturdy subtle sunny swift tender tidy trim trusty upbeat valiant vivid warm watchful wise witty zealous zesty"
)
# Sailors, navigators, makers of charts and instruments, hydrographers.
_SURNAMES = (
    "amundsen bering bougainville bowditch cabot cartier chaucer colomb cook cousteau dampier davis diaz drake "
    "eratosthenes erikson ferrer fitzroy flinders franklin frobisher gama gerritsz halley harrison hipparchus hudson "
    "humboldt kotzebue lander laperouse magellan maury mercator mitchell nansen ortelius parry peary piri polo "
    "ptolemy pytheas quiros ross sacajawea scoresby shackleton slocum tasman tharp torres tupaia vancouver vespucci "
    "villiers waldseemuller weddell wrangel zarco zheng"
)
ADJECTIVES = tuple(_ADJECTIVES.split())
SURNAMES = tuple(_SURNAMES.split())


def new_id() -> str:
    """64 hex digits; the first 12 are never all decimal, so that a short id is not mistaken for a number."""
    while True:
        candidate = os.urandom(32).hex()
        if not candidate[:12].isdigit():
            return candidate


def generate(attempt: int = 0) -> str:
    """A made-up name ``adjective_surname``; from the fourth attempt on with digits, as the plain ones run out."""
    # Not at the top: most verbs make up no name. Not secrets: it loads OpenSSL, and a name is no secret.
    from random import choice, randrange

    name = f"{choice(ADJECTIVES)}_{choice(SURNAMES)}"
    return name if attempt < 3 else f"{name}{randrange(10 ** (attempt - 1))}"


def validate(name: str) -> str:
    """``name`` without docker's optional leading slash; InvalidInput in docker's words."""
    if not NAME.match(name):
        raise InvalidInput(
            f"Invalid container name ({name}), only {ALLOWED} are allowed",
            remedy="start with a letter or digit and use at least two characters",
        )
    return name.removeprefix("/")
