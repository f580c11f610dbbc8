"""The report from the result files: REPORT.md and report.html. Nothing of it is computed elsewhere."""

import sys
from pathlib import Path

import jinja2

sys.path.insert(0, str(Path(__file__).resolve().parent))
import findings  # noqa: E402
import results  # noqa: E402

TEMPLATES = Path(__file__).resolve().parent / "templates"


def environment(**how):
    return jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), keep_trailing_newline=True,
                              undefined=jinja2.StrictUndefined, **how)


def markdown(found):
    """In its template lines that begin with %% are statements, and leave nothing behind."""
    text = environment(line_statement_prefix="%%").get_template("REPORT.md.j2").render(findings.context(found))
    return space_out(text)


def kind_of(line):
    """Of a line of Markdown, as far as blank lines between kinds go."""
    if line.startswith(("* ", "  ")) and not line.startswith("    "):
        return "list"
    return {"|": "table", "#": "heading", "": "blank"}.get(line[:1], "text")


def space_out(text):
    """One blank line wherever the kind changes, and none twice: statements take those behind them along."""
    lines = []
    for line in text.splitlines():
        kind = kind_of(line)
        if lines and (kind != kind_of(lines[-1]) or kind == "heading") and "blank" not in (kind, kind_of(lines[-1])):
            lines.append("")
        if kind != "blank" or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).rstrip("\n") + "\n"


def page(found):
    import figures_of_report
    context = findings.context(found)
    return environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("report.html.j2").render(
        {**context, "figures": figures_of_report.all_of(context["found"])})


def write(result_folder, report_folder):
    """Both files; returns their paths."""
    found = results.read_all(result_folder)
    written = []
    for name, make in (("REPORT.md", markdown), ("report.html", page)):
        path = Path(report_folder) / name
        path.write_text(make(found), encoding="utf-8")
        written.append(path)
    return written
