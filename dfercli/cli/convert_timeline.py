"""`dfer convert-timeline`: results in the formats of other tools."""

from dfercli.cli.console import ConsoleProgress, print_json, print_line
from dfercli.cli.offer import Asked, Json, examples, offers
from dfercli.config import ConvertTimelineConfig

EPILOG = examples(
    "dfer convert-timeline results/ --to eaf,textgrid",
    "dfer convert-timeline results/ --to boris --names names.csv --out coded/",
)


@offers(ConvertTimelineConfig, "convert-timeline")
def convert_timeline(asked: Asked[ConvertTimelineConfig], json: Json = False) -> None:
    """Write the timelines of a folder of results for players, annotation tools and coders.

    One tier per person. The videos are linked by their paths.
    """
    config = asked.config()
    from dfercli.prediction.timeline_files import run

    paths = run(config, ConsoleProgress())
    if json:
        print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        print_line(str(path))
