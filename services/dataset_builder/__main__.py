"""Start the dataset-builder: `python -m services.dataset_builder`."""

from services.dataset_builder.app import build
from services.dataset_builder.settings import Settings

build(Settings()).run()
