"""`python -m services.trainer`"""

from services.trainer.app import build
from services.trainer.settings import Settings
from shared.service import run_service

run_service(build, Settings)
