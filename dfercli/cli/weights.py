"""`dfer weights`: list, fetch and check small weight files."""

from typing import Annotated

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table
from dfercli.cli.offer import Json, examples
from dfercli.errors import ArtifactError

EPILOG = examples("dfer weights", "dfer weights yunet")


def weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Fetch and check these, or `all`."),
    ] = None,
    json: Json = False,
) -> None:
    """List the weights of detectors and landmarks with their licences, or fetch them.

    With DFER_OFFLINE=1 nothing is fetched. CLIP's weights are in the hub's own cache.
    """
    from dfercli.artifacts.weight_files import WEIGHT_FILES, fetch, is_whole, weight_file

    if names:
        progress = ConsoleProgress()
        wanted = WEIGHT_FILES if "all" in names else [weight_file(name) for name in names]
        for file in wanted:
            print_line(str(fetch(file, progress)))
            if file.check == "not checked":
                progress.note(f"{file.name} is not checked: no checksum is published")
        return
    broken = [file for file in WEIGHT_FILES if file.path.exists() and not is_whole(file)]
    rows = [
        {
            "name": file.name,
            "for": file.use,
            "state": "broken" if file in broken else "here" if file.path.exists() else "not here",
            "checksum": file.check,
            "licence": file.licence,
            "path": str(file.path),
            "url": file.url,
            "sha256": file.sha256,
        }
        for file in WEIGHT_FILES
    ]
    if json:
        print_json(rows)
    else:
        columns = ("name", "for", "state", "checksum", "licence", "path")
        print_table("", columns, [[row[column] for column in columns] for row in rows])
    if broken:
        raise ArtifactError(
            f"{broken[0].path} has another checksum than {broken[0].name}",
            hint=f"remove it, then: dfer weights {broken[0].name}",
        )
