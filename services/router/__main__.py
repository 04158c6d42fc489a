"""`python -m services.router`"""

from services.router.app import build
from services.router.settings import Settings
from shared.service import run_service

if __name__ == "__main__":
    run_service(build, Settings)
