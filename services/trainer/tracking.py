"""The run as MLflow shows it: parameters, curves, tags. Runs in the training process.

MLflow mirrors and never decides: while it is slow or away, training goes on and the adapter has no
run id. Its import and the first creation of its SQLite tables (1.6 s and 2.5 s of CPU) happen
on a thread beside the training, not before it.
"""

from __future__ import annotations

import logging
import time
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING

from services.trainer.checkpoints import RUN
from services.trainer.order import TrainingOrder

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# How long the end of a training waits for what is still to be mirrored.
WAIT_SECONDS = 10.0
log = logging.getLogger("tracking")


class Tracking:
    """Mirrors a training into MLflow."""

    def __init__(self, order: TrainingOrder) -> None:
        self.order = order
        self.run_id: str | None = None
        self._run_file = order.checkpoints / RUN
        self._notes: Queue[tuple[dict[str, float], int] | None] = Queue()
        self._tags: dict[str, str] = {}
        self._thread = Thread(target=self._mirror, name="tracking", daemon=True)
        self._thread.start()

    def noted(self, metrics: dict[str, float], step: int) -> None:
        """Mirror some metrics of one step; never blocks."""
        self._notes.put((metrics, step))

    def finish(self, tags: dict[str, str]) -> str | None:
        """End the run, which failed unless `tags` name its adapter; return its id.

        Waits WAIT_SECONDS at most for what is still under way.
        """
        self._tags = tags
        self._notes.put(None)
        self._thread.join(WAIT_SECONDS)
        return self.run_id

    def _mirror(self) -> None:
        try:
            self._follow()
        # Whatever a tracking server does, the training goes on.
        except Exception as error:  # noqa: BLE001
            log.warning("not tracked: %s: %s", type(error).__name__, error)

    def _follow(self) -> None:
        from mlflow.entities import Metric, RunTag
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.order.tracking_uri)
        self.run_id = run_id = self._started(client)
        while (note := self._notes.get()) is not None:
            metrics, step = note
            client.log_batch(
                run_id,
                metrics=[
                    Metric(name, value, time.time_ns() // 1_000_000, step)
                    for name, value in metrics.items()
                ],
            )
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in self._tags.items()])
        client.set_terminated(run_id, "FINISHED" if "adapter" in self._tags else "FAILED")

    def _started(self, client: MlflowClient) -> str:
        """Return the id of the run: a new one, or that of the first attempt."""
        from mlflow.entities import Param

        if self._run_file.exists():
            return self._run_file.read_text()
        experiment = client.get_experiment_by_name(self.order.spec.name)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(self.order.spec.name)
        )
        tags = {
            "job_id": self.order.job_id,
            "dataset_id": self.order.dataset_id,
            "recipe_sha256": self.order.recipe.sha256,
        }
        run_name = f"{self.order.recipe.name} {self.order.dataset_id}"
        run_id: str = client.create_run(experiment_id, tags=tags, run_name=run_name).info.run_id
        settings = self.order.recipe.model_dump(mode="json") | {
            "base_model": self.order.base_model_name
        }
        client.log_batch(
            run_id, params=[Param(name, str(value)) for name, value in settings.items()]
        )
        self._run_file.write_text(run_id)
        return run_id
