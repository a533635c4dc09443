"""The report as one HTML page: rendering. What each section shows is in `recllm.evaluation.page.sections`."""

from importlib.resources import files

from recllm.errors import require
from recllm.evaluation.findings import Findings
from recllm.evaluation.page.sections import make_heading, make_sections, make_summary
from recllm.texts import clean_text

jinja2 = require("jinja2", extra="eval")
Markup = require("markupsafe", extra="eval").Markup


def build_page(report: Findings) -> str:
    """The whole page; nothing in it is fetched from anywhere, and nothing runs."""
    environment = jinja2.Environment(
        autoescape=True,  # every name comes from data
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_cleaned,
    )
    environment.filters["drawing"] = Markup
    source = files("recllm.evaluation.page").joinpath("page.html.jinja").read_text(encoding="utf-8")
    title, how = make_heading(report)
    return environment.from_string(source).render(
        title=title, how=how, summary=make_summary(report), sections=make_sections(report)
    )


def _cleaned(value: object) -> object:
    """Names without what hides or reorders text; a figure is not parted from its per cent sign."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return clean_text(value).replace(" %", "\u00a0%")
