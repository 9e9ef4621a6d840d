"""The folder of Parquet parts that bulk work writes, on disk or at a URL. Each part is complete or absent, and no photo is done twice.

`_about.json` in the same folder names the command and model that made the parts, so that parts of another model are never mixed in. Readers
of Parquet folders ignore file names that begin with a dot or an underscore.
"""

import io
import json
import posixpath
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.photos.remote import filesystem

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = "_about.json"
PART, UNFINISHED = "part-", ".part-"


class ParquetDataset:
    """A folder of Parquet parts.

    Args:
        place: the folder's path or URL; an absolute path where other processes use it.
    """

    def __init__(self, place: str):
        self.place = place
        self._fs, self._root = filesystem(place)
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def begin(self, about: dict) -> Counter[str]:
        """Make the folder, or resume writing to it.

        Args:
            about: the command, model and options that make the parts, for `_about.json`; fit for JSON.

        Returns: the photos' paths that the folder holds already, each with its number of rows.
        Raises: UserError where the folder holds something else, or can't be written.
        """
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            names = {posixpath.basename(path.rstrip("/")) for path in self._fs.ls(self._root, detail=False)}
            if ABOUT in names:
                self._check_same(about)
            elif names:
                raise UserError(f"{self.place} holds other files: choose a new or empty folder.")
            else:
                self._put(ABOUT, (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())
            for name in names:
                if name.startswith(UNFINISHED):  # left by a run that was killed
                    self._fs.rm_file(f"{self._root}/{name}")
        except UserError:
            raise
        except Exception as error:  # every fsspec filesystem has its own error classes
            raise UserError(f"{self.place} can't be written ({error}): choose another place.") from None
        return Counter(path for part in self.tables(["path"]) for path in part["path"].to_pylist())

    def write(self, table: "pa.Table", name: str) -> None:
        """Write one part. A part of the same name is replaced."""
        import pyarrow.parquet

        data = io.BytesIO()
        pyarrow.parquet.write_table(table, data)
        self._put(f"{PART}{name}.parquet", data.getbuffer())

    def names(self) -> list[str]:
        """Return the file names of the finished parts, sorted."""
        self._fs.invalidate_cache()
        names = (posixpath.basename(path) for path in self._fs.ls(self._root, detail=False))
        return sorted(name for name in names if name.startswith(PART) and name.endswith(".parquet"))

    def tables(self, columns: list[str] | None = None):
        """Yield the parts one by one, with all columns or only those in `columns`. Raises: UserError for a damaged part."""
        import pyarrow as pa
        import pyarrow.parquet

        for name in self.names():
            try:
                with self._fs.open(f"{self._root}/{name}", "rb") as file:
                    yield pyarrow.parquet.read_table(file, columns=columns)
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{self.place}/{name} can't be read ({error}): delete it, and what was in it is done again.") from None

    def about(self) -> dict:
        """Read `_about.json`: what made the parts. Raises: UserError where the file is missing or can't be read."""
        try:
            return json.loads(self._fs.cat_file(f"{self._root}/{ABOUT}"))
        except FileNotFoundError:
            raise UserError(f"{self.place} has no {ABOUT}, so it is no folder of ours: give one that --engine ray wrote.") from None
        except ValueError:
            raise UserError(f"{self.place}/{ABOUT} can't be read: choose another folder.") from None

    def _check_same(self, about: dict) -> None:
        existing = self.about()
        differing = [name for name in about if existing.get(name) != about[name]]
        if not differing:
            return
        if differing == ["key"]:
            raise UserError(f"{self.place} holds answers of a model with other weights or preprocessing: choose another folder.")
        name = next(other for other in differing if other != "key")
        raise UserError(f"{self.place} holds answers with {name} {existing.get(name)}, not {about[name]}: choose another folder.")

    def _put(self, name: str, data: bytes | memoryview) -> None:
        """Write a file, completely or not at all."""
        if not self._local:  # object stores show a file only when it is complete
            self._fs.pipe_file(f"{self._root}/{name}", bytes(data))
            return
        unfinished = f"{self._root}/{UNFINISHED}{uuid.uuid4().hex}"
        self._fs.pipe_file(unfinished, data)
        self._fs.mv(unfinished, f"{self._root}/{name}")
