"""`edgespec show MODEL`: what a file holds and how it was made, from its header alone."""

import click

from edgespec.cli.context import Settings
from edgespec.cli.output import print_json, print_lines
from edgespec.text import one_line


@click.command("show")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(settings: Settings, /, model: str, as_json: bool) -> None:
    """Show the shape, types, size and recipe of MODEL, a name or a GGUF file."""
    from edgespec.cli.opening import find_model
    from quant.gguf.describe import describe_file, description_lines

    found = describe_file(find_model(model, settings))
    if as_json:
        print_json(found.as_document())
    else:
        print_lines(((name, one_line(value)) for name, value in description_lines(found)), width=14)
