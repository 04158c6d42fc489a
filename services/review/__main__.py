"""Run the service: `python -m services.review`."""

from services.review.app import build
from services.review.settings import Settings
from shared.service import run_service

run_service(build, Settings)
