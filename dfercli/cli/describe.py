"""`dfer describe`: texts for classes, captions for the clips of a face store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfercli.cli.console import ConsoleProgress, print_json, print_line, print_table, print_text
from dfercli.cli.offer import Asked, Json, Quiet, examples, offers
from dfercli.config import DescribeConfig
from dfercli.config.options import DATA, LLM, OUTPUT
from dfercli.errors import ConfigError, DataError, ServiceError

if TYPE_CHECKING:
    from dfercli.descriptions.cache import CacheInfo
    from dfercli.descriptions.estimate import Estimate
    from dfercli.descriptions.llm import Tally
    from dfercli.descriptions.run import CaptionResult

EPILOG = examples(
    "dfer describe --classes 7",
    "dfer describe --classes emotions.txt --model gpt-4.1-mini --dry-run",
    "dfer describe faces/ --concurrency 8",
)


@offers(DescribeConfig, "describe")
def describe(
    asked: Asked[DescribeConfig],
    source: Annotated[
        Path | None,
        typer.Argument(help="A face store to caption, or a descriptions file to --show."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="7|11|FILE",
            help="Write texts for these classes: 7, 11, or a file.",
            rich_help_panel=DATA,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the texts. By default descriptions-CLASSES.json.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the LLM prompts and the cost; send nothing.",
            rich_help_panel=LLM,
        ),
    ] = False,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print a table, write nothing.", rich_help_panel=OUTPUT),
    ] = False,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Compare two files of texts.", rich_help_panel=OUTPUT),
    ] = None,
    cache_info: Annotated[
        bool, typer.Option("--cache-info", help="Show the cache.", rich_help_panel=LLM)
    ] = False,
    cache_clear: Annotated[
        bool, typer.Option("--cache-clear", help="Empty the cache.", rich_help_panel=LLM)
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write texts for classes, or captions for the clips of a face store.

    Texts for 7 and 11 classes are shipped; others, and all captions, come from an LLM.

    Set OPENAI_API_KEY for the LLM, and OPENAI_BASE_URL for a server of your own. Every answer is
    cached: the same request is never sent twice.
    """
    progress = ConsoleProgress(quiet=quiet)
    config = asked.config()
    if cache_info or cache_clear:
        from dfercli.descriptions.run import answer_cache

        _print_cache(answer_cache(config, clear=cache_clear), clear=cache_clear, json=json)
    elif diff is not None:
        _print_difference(*diff, json=json)
    elif source is not None and classes is not None:
        raise ConfigError("give either a face store or --classes")
    elif source is not None and show:
        _show_source(source, json=json)
    elif source is not None:
        _caption(source, config, progress, dry_run=dry_run, json=json)
    elif classes is not None:
        _describe_classes(classes, config, progress, out=out, dry_run=dry_run, show=show, json=json)
    else:
        raise ConfigError(
            "nothing to describe", hint="dfer describe --classes 7, or dfer describe faces/"
        )


def _describe_classes(
    classes: str,
    config: DescribeConfig,
    progress: ConsoleProgress,
    *,
    out: Path | None,
    dry_run: bool,
    show: bool,
    json: bool,
) -> None:
    from dfercli.artifacts.locks import writing_file
    from dfercli.artifacts.own_outputs import Output, check_place, refuse_overwriting
    from dfercli.descriptions.label_lists import read_label_list
    from dfercli.descriptions.run import default_path, describe_classes, plan_classes, save_texts
    from dfercli.descriptions.tables import text_lines, text_table

    label_list = read_label_list(classes)
    if out is not None:
        check_place("--out", out, "file")
        refuse_overwriting([Output("--out", out)], [Path(classes)])
    if dry_run:
        _print_estimate(plan_classes(label_list, config), json=json)
        return
    if show:
        texts, tally = describe_classes(label_list, config, progress)
    else:
        path = out or default_path(label_list, config.style)
        with writing_file(path):
            texts, tally = describe_classes(label_list, config, progress)
            save_texts(path, texts, overwrite=config.overwrite)
    if tally.sent or tally.from_cache:
        progress.note(_spent(tally))
    if json:
        print_json(texts.to_json())
    elif show:
        print_table("", ("class", "text", "CLIP tokens"), text_table(texts), left=2)
    else:
        for line in text_lines(texts):
            print_line(line)
    if not show:
        progress.note(f"written: {path}")


def _caption(
    store: Path, config: DescribeConfig, progress: ConsoleProgress, *, dry_run: bool, json: bool
) -> None:
    from dfercli.descriptions.run import caption_store, plan_captions

    if dry_run:
        _print_estimate(plan_captions(store, config, progress), json=json)
        return
    result = caption_store(store, config, progress)
    if json:
        print_json(_as_json(result))
    else:
        print_line(
            f"{result.kept + result.written} of {result.clips} clips have a caption "
            f"({result.written} new, {len(result.failed)} failed)"
        )
    progress.note(_spent(result.tally))
    if result.stopped is not None:
        raise result.stopped
    if result.failed:
        faults = list(result.failed.values())
        is_of_service = all(isinstance(fault, ServiceError) for fault in faults)
        kind = ServiceError if is_of_service and len(faults) == result.clips else DataError
        hints = {fault.hint for fault in faults}
        raise kind(
            f"{len(faults)} of {result.clips} clips have no caption; the rest is kept",
            hint=(hints.pop() if len(hints) == 1 else None)
            or "run it again for those that failed; --refresh also repeats cached requests",
        )


def _as_json(result: "CaptionResult") -> dict[str, Any]:
    return {
        "clips": result.clips,
        "kept": result.kept,
        "written": result.written,
        "failed": {clip: error.message for clip, error in result.failed.items()},
        "stopped": result.stopped.message if result.stopped else None,
        "requests": result.tally.sent,
        "from_cache": result.tally.from_cache,
        "usage": result.tally.usage,
    }


def _spent(tally: "Tally") -> str:
    tokens = tally.usage.get("total_tokens")
    counted = "" if tokens is None else f", {tokens} tokens"
    return f"requests sent: {tally.sent}, answered by the cache: {tally.from_cache}{counted}"


def _show_source(source: Path, *, json: bool) -> None:
    from dfercli.artifacts.face_store import is_face_store
    from dfercli.descriptions.tables import caption_table, text_table
    from dfercli.descriptions.texts import read_texts

    if is_face_store(source):
        name, rows = "clip", caption_table(source)
    else:
        texts = read_texts(source)
        if json:
            print_json(texts.to_json())
            return
        name, rows = "class", text_table(texts)
    if json:
        print_json([{name: row[0], "text": row[1], "tokens": int(row[2])} for row in rows])
    else:
        print_table("", (name, "text", "CLIP tokens"), rows, left=2)


def _print_difference(first: Path, second: Path, *, json: bool) -> None:
    from dfercli.descriptions.tables import compare_texts

    rows = compare_texts(first, second)
    if json:
        print_json([{"class": row[0], "first": row[1], "second": row[2]} for row in rows])
    elif rows:
        print_table("", ("class", str(first), str(second)), rows, left=3)
    else:
        print_line("the texts are the same")


def _print_estimate(estimate: "Estimate", *, json: bool) -> None:
    if json:
        print_json(
            {
                "prompts": list(estimate.prompts),
                "requests": estimate.requests,
                "tokens_estimated": estimate.tokens,
            }
        )
        return
    for prompt in estimate.prompts:
        print_text(prompt)
        print_line("-" * 40)
    print_line(f"requests: at most {estimate.requests} if every answer can be used")
    print_line(f"tokens sent, estimated: {estimate.tokens}")


def _print_cache(info: "CacheInfo", *, clear: bool, json: bool) -> None:
    if json:
        print_json({"folder": str(info.folder), "answers": info.answers, "bytes": info.size_bytes})
    else:
        what = "removed" if clear else "held"
        print_line(f"{info.folder}: {info.answers} answers {what}, {info.size_bytes} bytes")
