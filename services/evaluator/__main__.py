"""python -m services.evaluator"""

from services.evaluator.app import build
from services.evaluator.settings import Settings

build(Settings()).run()
