"""Run the service: `python -m services.capture`."""

from services.capture.app import build
from services.capture.settings import Settings
from shared.service import run_service

if __name__ == "__main__":
    run_service(build, Settings)
