"""`python -m services.trainer`"""

from services.trainer.app import build
from services.trainer.settings import Settings

build(Settings()).run()
