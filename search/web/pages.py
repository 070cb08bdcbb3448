"""How a page is made: its frame, texts and times."""

from __future__ import annotations

import gettext
from http import HTTPStatus
from pathlib import Path
from typing import Any

from babel.support import Translations
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lookout.accounts.rights import Identity
from lookout.clock import isoformat, to_datetime

HERE = Path(__file__).parent
#: Texts are English in the templates; a folder `locale/<language>/LC_MESSAGES` with `lookout.mo` adds a language.
LOCALE = HERE / "locale"
LANGUAGES = ("en", *sorted(path.name for path in LOCALE.glob("*") if (path / "LC_MESSAGES" / "lookout.mo").exists()))


def _environment(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = gettext.NullTranslations() if language == "en" else Translations.load(LOCALE, [language], "lookout")
    made.install_gettext_translations(texts, newstyle=True)  # type: ignore[attr-defined]
    made.filters["time"] = _time
    made.filters["day"] = lambda at_us: to_datetime(at_us).date().isoformat()
    made.filters["iso"] = isoformat
    made.filters["score"] = lambda score: f"{score:.2f}"
    return made


def page(
    request: Request,
    template: str,
    *,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Render a template of `templates/`: a whole page, or the part of one that htmx asked for.

    Every template knows `who` (the identity, or None), `path` and `may(scope)` beside its own values.
    """
    who: Identity | None = getattr(request.state, "identity", None)
    text = (
        _environments[_language(request)]
        .get_template(template)
        .render(who=who, path=request.url.path, may=lambda scope: who is not None and who.may(scope), **values)
    )
    return HTMLResponse(text, status, headers=headers)


def go_to(request: Request, path: str) -> Response:
    """Have the browser open another page, after a form as well as after a request of htmx."""
    if request.headers.get("hx-request"):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": path})
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def problem(request: Request, status: HTTPStatus, detail: str, headers: dict[str, str]) -> Response:
    """An error for a person: a page of its own, or a note on the page that asked."""
    if request.headers.get("hx-request"):
        # The script shows it as a note, wherever on the page it was asked for.
        return page(
            request,
            "parts/note.html",
            status=status,
            headers={**headers, "HX-Retarget": "#notes", "HX-Reswap": "innerHTML"},
            detail=detail,
        )
    return page(request, "problem.html", status=status, headers=headers, detail=detail, title=status.phrase)


def _language(request: Request) -> str:
    """The first language of the browser's that there are texts in."""
    for wanted in request.headers.get("accept-language", "").split(","):
        language = wanted.partition(";")[0].strip().partition("-")[0].lower()
        if language in _environments:
            return language
    return "en"


def _time(at_us: int | None, style: str = "datetime") -> Markup:
    """A time that the script shows in the zone of the browser; `style`: `datetime`, `time`, `date` or `ago`."""
    if at_us is None:
        return Markup("–")
    iso = isoformat(at_us)
    shown = {"time": iso[11:19], "date": iso[:10]}.get(style, iso[:19].replace("T", " ")) + " UTC"
    return Markup('<time datetime="{}" data-style="{}">{}</time>').format(iso, style, shown)


_environments = {language: _environment(language) for language in LANGUAGES}
