"""Read access to the worker pools of the stages."""

from fluxcaption.app import App
from fluxcaption.domain.jobs import Stage
from fluxcaption.pipeline.queue.worker_pool import StagePool


def pool_of(app: App, stage: Stage) -> StagePool:
    """Return the workers of a stage with their limits."""
    # The product has no use for a public way to read the limits.
    return app.workers._stages[stage]
