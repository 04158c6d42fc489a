"""Start the dataset-builder: `python -m services.dataset_builder`."""

from services.dataset_builder.app import build
from services.dataset_builder.settings import Settings
from shared.service import run_service

run_service(build, Settings)
