"""`python -m services.router`"""

from services.router.app import build
from services.router.settings import Settings

if __name__ == "__main__":
    build(Settings()).run()
