"""Pictures as sealed files: a folder, a volume or S3, by fsspec."""

from __future__ import annotations

import errno
import uuid

import fsspec

from lookout.errors import NotFoundError, UnavailableError
from lookout.sealing import Keyring


class Blobs:
    """Pictures under names like `crops/2026-11-01/….jpg`, each sealed for its name."""

    def __init__(self, url: str, keyring: Keyring) -> None:
        self.url = url
        self._keyring = keyring
        self._files, self._root = fsspec.core.url_to_fs(url)
        #: A plain folder can leave half a file behind; object stores show a file only when it is whole.
        self._local = self._files.protocol in ("file", ("file", "local"))

    def write(self, name: str, data: bytes) -> None:
        """Store a picture whole or not at all; writing the same name again replaces it.

        Raises:
            UnavailableError: the store is full, or cannot be written.
        """
        sealed = self._keyring.seal(data, name)
        path = self._path(name)
        part = f"{path}.{uuid.uuid4().hex}.part" if self._local else path
        try:
            self._files.makedirs(self._files._parent(path), exist_ok=True)
            try:
                self._files.pipe_file(part, sealed)
                if part != path:
                    self._files.mv(part, path)
            except OSError:
                if part != path and self._files.exists(part):
                    self._files.rm_file(part)
                raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UnavailableError(f"the blob store {self.url} is full: make room or lower retention.") from error
            raise UnavailableError(f"the blob store {self.url} cannot be written: {error}.") from error

    def read(self, name: str) -> bytes:
        """Fetch a picture.

        Raises:
            NotFoundError: there is none of that name.
            SealError: it cannot be decrypted.
            UnavailableError: the store cannot be read.
        """
        try:
            sealed: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError as error:
            raise NotFoundError(f"the blob store has no {name}.") from error
        except OSError as error:
            raise UnavailableError(f"the blob store {self.url} cannot be read: {error}.") from error
        return self._keyring.open(sealed, name)

    def delete(self, name: str) -> None:
        """Remove a picture; one that is not there does no harm."""
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnavailableError(f"the blob store {self.url} cannot be changed: {error}.") from error

    def check(self) -> None:
        """Write and remove a small file.

        Raises:
            UnavailableError: the store is full, or cannot be written.
        """
        self.write("health", b"ok")
        self.delete("health")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
