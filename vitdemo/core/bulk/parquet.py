"""A folder of Parquet parts that bulk work writes, here or at a URL: each part whole or not there, and nothing in it done twice.

`_about.json` beside the parts says what they are answers to, so that another model's are never mixed in. Names that begin with a dot or an
underscore are passed over by whatever reads folders of Parquet.
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
    """A folder of parts.

    Args:
        place: a folder or URL, absolute where other processes use it.
    """

    def __init__(self, place: str):
        self.place = place
        self._fs, self._root = filesystem(place)
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def begin(self, about: dict) -> Counter[str]:
        """Make the folder, or go on with it.

        Args:
            about: what the parts are answers to; fit for JSON.

        Returns: the paths that are in it already, each with how often.
        Raises: UserError where it holds something else, or can't be written.
        """
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            names = {posixpath.basename(each.rstrip("/")) for each in self._fs.ls(self._root, detail=False)}
            if ABOUT in names:
                self._check_same(about)
            elif names:
                raise UserError(f"{self.place} holds other files: choose a new or empty folder.")
            else:
                self._put(ABOUT, (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())
            for each in names:
                if each.startswith(UNFINISHED):  # of a run that was killed
                    self._fs.rm_file(f"{self._root}/{each}")
        except UserError:
            raise
        except Exception as error:  # each of fsspec's filesystems has errors of its own
            raise UserError(f"{self.place} can't be written ({error}): choose another place.") from None
        return Counter(path for part in self.tables(["path"]) for path in part["path"].to_pylist())

    def write(self, table: "pa.Table", name: str) -> None:
        """Write one part, over one of the same name."""
        import pyarrow.parquet

        data = io.BytesIO()
        pyarrow.parquet.write_table(table, data)
        self._put(f"{PART}{name}.parquet", data.getbuffer())

    def names(self) -> list[str]:
        """The finished parts, sorted."""
        self._fs.invalidate_cache()
        found = (posixpath.basename(each) for each in self._fs.ls(self._root, detail=False))
        return sorted(each for each in found if each.startswith(PART) and each.endswith(".parquet"))

    def tables(self, columns: list[str] | None = None):
        """The parts one after the other, or some of their columns. Raises: UserError for a damaged one."""
        import pyarrow as pa
        import pyarrow.parquet

        for name in self.names():
            try:
                with self._fs.open(f"{self._root}/{name}", "rb") as file:
                    yield pyarrow.parquet.read_table(file, columns=columns)
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{self.place}/{name} can't be read ({error}): delete it, and what was in it is done again.") from None

    def about(self) -> dict:
        """What the parts are answers to. Raises: UserError where nothing says so."""
        try:
            return json.loads(self._fs.cat_file(f"{self._root}/{ABOUT}"))
        except FileNotFoundError:
            raise UserError(f"{self.place} has no {ABOUT}, so it is no folder of ours: give one that --engine ray wrote.") from None
        except ValueError:
            raise UserError(f"{self.place}/{ABOUT} can't be read: choose another folder.") from None

    def _check_same(self, about: dict) -> None:
        there = self.about()
        differing = [name for name in about if there.get(name) != about[name]]
        if not differing:
            return
        if differing == ["key"]:
            raise UserError(f"{self.place} holds answers of a model with other weights or preprocessing: choose another folder.")
        name = next(each for each in differing if each != "key")
        raise UserError(f"{self.place} holds answers with {name} {there.get(name)}, not {about[name]}: choose another folder.")

    def _put(self, name: str, data: bytes | memoryview) -> None:
        """A file, whole or not at all."""
        if not self._local:  # object stores show a file when all of it is there
            self._fs.pipe_file(f"{self._root}/{name}", bytes(data))
            return
        unfinished = f"{self._root}/{UNFINISHED}{uuid.uuid4().hex}"
        self._fs.pipe_file(unfinished, data)
        self._fs.mv(unfinished, f"{self._root}/{name}")
