"""python -m services.evaluator"""

from services.evaluator.app import build
from services.evaluator.settings import Settings
from shared.service import run_service

run_service(build, Settings)
