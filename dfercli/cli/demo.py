"""`dfer demo`: the whole pipeline on drawn faces, in about two minutes."""

from dfercli.cli.console import ConsoleProgress, agreed, print_json, print_line, print_table
from dfercli.cli.offer import Asked, Json, Quiet, Yes, examples, offers
from dfercli.config import DemoConfig

EPILOG = examples(
    "dfer demo",
    "dfer demo --out dfer-demo --train-identities 20 --epochs 10",
    "dfer demo --real ravdess --actors 1,2,3,4",
)


@offers(DemoConfig, "demo")
def demo(
    asked: Asked[DemoConfig], yes: Yes = False, json: Json = False, quiet: Quiet = False
) -> None:
    """Draw labelled videos, preprocess, describe, train, evaluate and predict.

    The faces are drawn and the model is a toy: it shows that everything works, but nothing about
    real faces. With --real it fetches videos of a few actors (size and licence first), trains on
    all of them but one, and measures on that one.
    """
    config = asked.config()
    if config.real is not None:
        _on_real_faces(config, yes=yes, json=json, quiet=quiet)
        return
    from dfercli.demo import run

    progress = ConsoleProgress(quiet=quiet)
    progress.info("the faces of this demo are drawn and its model is a toy")
    result = run(config, progress)
    found = result.evaluation
    chance = 1 / len(found.label_set)
    if json:
        print_json(
            {
                "war": found.war,
                "uar": found.uar,
                "chance": chance,
                "num_clips": found.num_clips,
                "metrics": found.to_json(),
                "run": str(result.run),
                "results": str(result.results),
                "predictions": str(result.predictions),
                "seconds": result.seconds,
            }
        )
        return
    from dfercli.report.tables import per_class_table, percent, percent_interval

    print_table(
        f"{found.num_clips} clips of {config.test_identities} people never seen in training",
        ("", "%", "95 % interval", "by", "chance %"),
        [
            (
                name,
                percent(rate),
                percent_interval(interval),
                method,
                percent(chance),
            )
            for name, rate, interval, method in (
                ("UAR", found.uar, found.uar_interval, found.uar_method),
                ("WAR", found.war, found.war_interval, found.war_method),
            )
        ],
    )
    classes = per_class_table(found)
    print_table(classes.title, classes.columns, classes.rows)
    print_table(
        "Time",
        ("stage", "seconds"),
        [(stage, f"{seconds:.1f}") for stage, seconds in result.seconds.items()],
    )
    print_line(
        "The faces are drawn and the model is a toy: these numbers say nothing about people."
    )
    for name, path in (
        ("videos", result.out / "videos"),
        ("face crops", result.out / "faces-train"),
        ("class texts", result.out / "descriptions.json"),
        ("run", result.run),
        ("results", result.results),
        ("predictions", result.predictions),
    ):
        print_line(f"{name + ':':13}{path}")
    print_line(f"next:        dfer predict VIDEO --model {result.run}")


def _on_real_faces(config: DemoConfig, *, yes: bool, json: bool, quiet: bool) -> None:
    from dfercli.demo_real import plan, run
    from dfercli.report.tables import per_class_table, summary_table

    progress = ConsoleProgress(quiet=quiet)
    wanted = plan(config, progress)
    if wanted is not None and wanted.files:
        for line in wanted.lines():
            progress.note(line)
        if not yes and not agreed("Fetch it?"):
            print_line("nothing was fetched")
            return
    result = run(config, wanted, progress)
    if json:
        print_json(
            {
                "metrics": result.evaluation.to_json(),
                "measured_on": result.measured_on,
                "run": str(result.run),
                "store": str(result.store),
                "page": str(result.page),
                "seconds": result.seconds,
            }
        )
        return
    for table in (
        summary_table(result.evaluation, result.measured_on),
        per_class_table(result.evaluation),
    ):
        print_table(table.title, table.columns, table.rows)
    print_table(
        "Time",
        ("stage", "seconds"),
        [(stage, f"{seconds:.1f}") for stage, seconds in result.seconds.items()],
    )
    print_line("One actor says nothing about others. All of them: docs/open-data.md")
    for name, path in (
        ("videos", result.videos),
        ("faces", result.store),
        ("run", result.run),
        ("page", result.page),
    ):
        print_line(f"{name + ':':13}{path}")
