"""Photos that people send, with the fields beside them: limited while they are read, and kept off the disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request
from python_multipart.exceptions import ParseError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from lookout.errors import BadInputError
from lookout.faces.photos import MAX_BYTES

MAX_PHOTOS = 20
#: Of one request, in memory.
MAX_REQUEST_BYTES = 128_000_000
MAX_FIELDS = 80
MAX_FIELD_BYTES = 32_000


@dataclass(frozen=True, slots=True, eq=False)
class SentPhoto:
    """A photo as it came.

    Attributes:
        name: of the file, for messages.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class SentForm:
    """Photos and texts of a form."""

    photos: list[SentPhoto]
    fields: FormData

    def text(self, name: str) -> str:
        """A field's text; empty if it was not sent."""
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """All texts of a field."""
        return [value for value in self.fields.getlist(name) if isinstance(value, str)]

    def is_set(self, name: str) -> bool:
        """Whether a field says yes."""
        return self.text(name).lower() in ("1", "true", "on", "yes")

    def faces(self) -> list[int | None]:
        """Which face of each photo was chosen, counted from 1; None: nobody chose.

        Raises:
            BadInputError: a number is none, or there are more of them than photos.
        """
        chosen: list[int | None] = []
        for text in self.texts("face"):
            if text.strip() and not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) < 4):
                raise BadInputError("face: give the number of a face, counted from 1 from left to right, or nothing.")
            chosen.append(int(text) or None if text.strip() else None)
        if len(chosen) > len(self.photos):
            raise BadInputError("face: give at most one for each photo.")
        return chosen + [None] * (len(self.photos) - len(chosen))


class _InMemory(MultiPartParser):
    """Keeps files in memory: an unsealed photo has no business on a disk."""

    spool_max_size = MAX_REQUEST_BYTES

    async def parse(self) -> FormData:
        """Read all parts; nothing is left open of a form that cannot be read."""
        try:
            return await super().parse()
        except BaseException:
            for file in self._files_to_close_on_error:
                file.close()
            raise


async def read_form(request: Request) -> SentForm:
    """Read a form with photos.

    Raises:
        HTTPException: 400 it is none; 413 it is too large.
        BadInputError: one photo is too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = limited(request, MAX_REQUEST_BYTES)
    try:
        if kind == "application/x-www-form-urlencoded":
            return SentForm([], await FormParser(request.headers, stream).parse())
        if kind != "multipart/form-data":
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the photos as multipart/form-data.")
        parser = _InMemory(
            request.headers, stream, max_files=MAX_PHOTOS, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        )
        form = await parser.parse()
    except MultiPartException as error:
        detail = error.message
        if "Too many files" in detail:
            detail = f"Send at most {MAX_PHOTOS} photos at once."
        raise HTTPException(HTTPStatus.BAD_REQUEST, detail) from error
    except (ParseError, UnicodeDecodeError, LookupError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "This is no form that can be read.") from error
    photos = []
    for value in form.getlist("photos"):
        if isinstance(value, UploadFile):
            data = await value.read(MAX_BYTES + 1)
            name = file_name(value.filename)
            if value.filename or data:  # a form without a file sends an empty one
                photos.append(SentPhoto(name, data))
    texts = FormData([(name, value) for name, value in form.multi_items() if isinstance(value, str)])
    await form.close()
    return SentForm(photos, texts)


Sent = Annotated[SentForm, Depends(read_form)]


async def limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """A request's body, as long as it is not larger than it may be, whatever it says of its length.

    Raises:
        HTTPException: 413 it is larger.
    """
    too_large = HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Send at most {most / 1e6:.0f} MB at once.")
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise too_large
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise too_large
        yield piece


def file_name(given: str | None) -> str:
    """The name of a sent file, fit to be shown."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable())
    return kept[:200] or "photo"


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """How the API's description tells of such a form: the texts of a JSON schema, and photos."""
    photos = {
        "type": "array",
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        "maxItems": MAX_PHOTOS,
        "description": f"the files, at most {MAX_BYTES / 1e6:.0f} MB each and {MAX_REQUEST_BYTES / 1e6:.0f} MB in all",
    }
    form = {
        "type": "object",
        "properties": {**schema.get("properties", {}), "photos": photos},
        "required": [*schema.get("required", ()), "photos"],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
