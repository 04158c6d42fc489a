"""Run the service: `python -m services.review`."""

from services.review.app import build
from services.review.settings import Settings

build(Settings()).run()
