"""Access to the workers of one stage."""

from fluxcaption.app import App
from fluxcaption.domain.jobs import Stage
from fluxcaption.pipeline.queue.worker_pool import StagePool


def pool_of(app: App, stage: Stage) -> StagePool:
    """Return the workers of a stage: its function, size and limit."""
    # The product needs no public way to read them.
    return app.workers._stages[stage]
