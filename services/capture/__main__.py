"""Run the service: `python -m services.capture`."""

from services.capture.app import build
from services.capture.settings import Settings

if __name__ == "__main__":
    build(Settings()).run()
