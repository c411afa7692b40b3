"""`dfer train --seeds`: the same training with several seeds, on the same splits."""

from collections.abc import Callable
from dataclasses import replace

from dfercli.config import TrainConfig
from dfercli.errors import ConfigError
from dfercli.progress import Progress
from dfercli.training.continuing import name_by_the_time
from dfercli.training.run import TrainResult

TrainIt = Callable[[TrainConfig, Progress], TrainResult]


def run(config: TrainConfig, progress: Progress, train_it: TrainIt) -> tuple[TrainResult, ...]:
    """Train once with each seed, each in a run folder `NAME-seed-N`.

    All runs use the folds, validation and test parts of the first seed, so the runs differ only in
    their seed.

    Raises:
        ConfigError: a seed that comes twice, or several processes.
        DataError: clips that cannot be used.
        ArtifactError: a run that cannot be read or written.
    """
    runs = plan(config)
    results = []
    for number, planned in enumerate(runs, start=1):
        progress.info(f"seed {planned.seed}, run {number} of {len(runs)}: {planned.name}")
        results.append(train_it(planned, progress))
    return tuple(results)


def plan(config: TrainConfig) -> list[TrainConfig]:
    """The settings of each run.

    Raises:
        ConfigError: a seed that comes twice, or several processes.
    """
    seeds = config.seeds
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {','.join(map(str, seeds))}: a seed comes twice")
    if config.devices * config.num_nodes > 1:
        raise ConfigError(
            "--seeds trains one run after the other in one process",
            hint="start each seed by itself: --seed N",
        )
    name = config.name or name_by_the_time(config, [f"-seed-{seed}" for seed in seeds])
    split_seed = config.data.split_seed
    data = replace(config.data, split_seed=seeds[0] if split_seed is None else split_seed)
    return [
        replace(config, seeds=(), seed=seed, name=f"{name}-seed-{seed}", data=data)
        for seed in seeds
    ]
