"""Finds the photos in files, folders, zips, URLs and uploads, and notes what it leaves out.

Names and folders are data: they are kept as given, and made fit to be shown only where they are shown.
"""

import glob
import math
import operator
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.names import shown_name
from vitdemo.core.photos import remote
from vitdemo.core.photos.gallery import Gallery, Item
from vitdemo.core.photos.kinds import HIDDEN, LeftOut, holds_photo, is_hidden, named_as_photo
from vitdemo.core.photos.zip_names import names_of, with_slashes
from vitdemo.core.photos.zips import is_link, is_readable, open_zip

MAX_ZIP_INDEX_BYTES = 16_000_000  # an uploaded zip's list of entries; it takes six times that in memory, and holds over 100,000 names
LOOP = "“{}” is a link back to a folder that it lies in: left out."
MAX_UNPACKED = 20  # times `max_zip_mb` is the most that the photos in an uploaded zip may unpack to


def find_items(paths: Iterable[str | Path], settings: Settings | None = None) -> Gallery:
    """List every named file, and every photo in every named folder or zip, in a stable order.

    Folders and zips are searched for photos; hidden files and other kinds are left out and counted in the notes. A name that is no file may
    be a pattern, such as `photos/**/*.jpg`, or a URL that fsspec reads, with or without a pattern, such as `s3://bucket/photos`. A zip in a
    folder counts as a folder; a damaged zip in a folder becomes an item that can't be read. Links to folders are followed.

    Raises: UserError for a named zip or URL that can't be read.
    """
    search = _Search(settings or Settings())
    items: list[Item] = []
    for path in paths:
        if remote.is_url(path):
            items += search.at_url(str(path))
        elif not os.path.lexists(path) and glob.has_magic(str(path)):
            for match in sorted(glob.glob(str(path), recursive=True)):
                if search.is_in_loop(match):
                    continue
                if not os.path.isdir(match):
                    items += search.at_match(Path(match))
                elif "**" not in str(path):  # else its files match too
                    items += search.at_path(Path(match))
        else:
            items += search.at_path(Path(path))
    return Gallery(items, search.notes())


def uploaded_items(
    files: Iterable[tuple[str, Path]], settings: Settings, *, command: str = "classify", others: Iterable[str] = ()
) -> Gallery:
    """List the photos of an upload, sorted by name; a zip is replaced by the photos in it.

    Args:
        files: each file's name on the visitor's machine, with folders, and its path here. A file whose name has a folder belongs to an
            uploaded folder, where hidden files and other kinds are left out.
        command: the command that takes larger galleries than an upload, for the error message.
        others: names of files that the page left out, since they are no photos.

    Raises: UserError for no photos, for too many, and for a zip that can't be read.
    """
    search = _Search(settings, upload=True)
    items, count = [], 0
    files = list(files)
    for name, (_, path) in zip(clean_names([name for name, _ in files]), files, strict=True):
        if name.lower().endswith(".zip"):
            more = search.in_zip(path, name) if len(files) == 1 else search.in_zip_or_error(path, name)
        elif "/" not in name or search.takes(name, name, partial(holds_photo, path)):
            more = [Item(path, name, PurePosixPath(name).parent.name)]
        else:
            more = []
        count += len(more)
        if count <= settings.max_gallery:  # photos beyond the limit are only counted
            items += more
    for name in clean_names(others):
        search.left_out.file(name, HIDDEN if is_hidden(name) else "")
    if not count:
        why = " ".join(search.notes())
        raise UserError(f"There are no photos in what you gave: give photos, a folder or a zip that holds some. {why}".strip())
    if count > settings.max_gallery:
        raise UserError(
            f"These are {count:,} photos, and the limit here is {settings.max_gallery:,}: choose fewer, or run "
            f"“python -m vitdemo {command} FOLDER” on the command line, which has no limit."
        )
    return Gallery(sorted(items, key=lambda item: item.name), search.notes())


def zip_items(place: Path | str, settings: Settings) -> list[Item]:
    """List the photos in a zip, at a path or a URL, in the zip's order. Raises: UserError for a zip that can't be read."""
    return _Search(settings).in_zip(place, str(place))


def clean_names(names: Iterable[str]) -> list[str]:
    """Return a visitor's file names without `..` and empty parts, and else as given."""
    return [_clean(name) for name in with_slashes(list(names))]


def _clean(name: str) -> str:
    parts = [part for part in name.split("/") if part.strip() not in ("", ".", "..")]
    name = "/".join(parts) or "unnamed"
    return name.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair, which no file can hold


class _Search:
    """Looks for photos, and notes what it leaves out.

    Args:
        upload: whether a visitor gave the files: then the limits of an upload hold for zips.
    """

    def __init__(self, settings: Settings, *, upload: bool = False):
        self._settings, self._upload = settings, upload
        self.left_out = LeftOut()
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """What was left out or guessed, one sentence each."""
        return [*self._notes, *self.left_out.notes()]

    def takes(self, path: str, inside: str, holds: Callable[[], bool]) -> bool:
        """Whether a file is a photo; a file that is none is counted.

        Args:
            path: finds the file's folders again, for the notes.
            inside: its name within what was given, whose hidden files are left out.
            holds: whether its content is a photo's.
        """
        if is_hidden(inside):
            self.left_out.file(path, HIDDEN)
        elif named_as_photo(inside) or holds():
            self.left_out.photo(path)
            return True
        else:
            self.left_out.file(path)
        return False

    def at_path(self, path: Path) -> Iterable[Item]:
        """The photos in a folder or zip, or the file itself."""
        if os.path.isdir(path):  # unlike Path.is_dir, it raises nothing for an impossible name
            return self._in_folder(path)
        return self.in_zip(path, str(path)) if path.suffix.lower() == ".zip" else [Item(path, str(path))]

    def is_in_loop(self, match: str) -> bool:
        """Whether a pattern has found this by a link back to a folder that the link lies in. Such links are noted."""
        loops = [parent for parent in (Path(match), *Path(match).parents) if parent.is_symlink() and _leads_back(*_ends(parent))]
        note = LOOP.format(shown_name(loops[-1].name)) if loops else ""
        if note and note not in self._notes:
            self._notes.append(note)
        return bool(loops)

    def at_match(self, path: Path) -> Iterable[Item]:
        """The photos in a file that matches a pattern: the file itself, those in a zip, or none."""
        if path.suffix.lower() == ".zip" or self.takes(str(path), path.name, partial(holds_photo, path)):
            return self.at_path(path)
        return []

    def at_url(self, url: str) -> Iterator[Item]:
        """The photos in a folder or zip at a URL, or that match its pattern."""
        if "::" not in url and url.lower().endswith(".zip"):
            yield from self.in_zip(url, url)
            return
        for file in remote.files_at(url):
            name = PurePosixPath(file.url)
            # a file without a suffix may be a photo, and is not opened here: that would take a second for each dozen
            if not file.inside or self.takes(file.url, file.inside, partial(operator.not_, name.suffix)):
                yield Item(Path(name.name), file.url, name.parent.name if file.inside else "", url=file.url)

    def in_zip(self, place: Path | str, name: str) -> list[Item]:
        """The photos in a zip, at a path or a URL, in the zip's order.

        Args:
            name: the zip's name in results.

        Raises: UserError for a zip that can't be read, or unpacks to more than an upload may.
        """
        shown = shown_name(PurePosixPath(name).name)
        archive = open_zip(
            remote.opened(place) if isinstance(place, str) else place, shown, MAX_ZIP_INDEX_BYTES if self._upload else math.inf
        )
        members = archive.infolist()
        names = names_of(members, self._settings.zip_encoding)
        if names.guessed:
            self._notes.append(
                f"“{shown}” does not say how its names are written: they are read as {names.guessed}, the likeliest encoding. If that is "
                f"wrong, make the zip again with names in UTF-8{'' if self._upload else ', or give --zip-encoding'}."
            )
        photos = []
        for member, inside in zip(members, names.names, strict=True):
            path = f"{name}/{_clean(inside)}"
            if inside.endswith("/"):
                self.left_out.folder(path)
            elif is_link(member):
                self.left_out.file(path, "link")
            elif self.takes(path, _clean(inside), partial(self._holds_photo, archive, member)):
                photos.append((member, _clean(inside)))
        archive.filelist.clear()  # frees the entries that are not photos
        archive.NameToInfo.clear()
        unpacked, most = sum(member.file_size for member, _ in photos), MAX_UNPACKED * self._settings.max_zip_bytes
        if self._upload and unpacked > most:
            raise UserError(f"“{shown}” unpacks to {unpacked >> 20:,} MB, and the limit here is {most >> 20:,}: give fewer photos.")
        file, url = (Path(shown), place) if isinstance(place, str) else (place, "")
        stem = PurePosixPath(name).stem
        return [
            Item(file, f"{name}/{inside}", PurePosixPath(inside).parent.name or stem, archive, member, number, url)
            for number, (member, inside) in enumerate(photos)
        ]

    def in_zip_or_error(self, path: Path, name: str) -> list[Item]:
        """The photos in a zip among other files; a zip that can't be read becomes one item, which says why."""
        try:
            return self.in_zip(path, name)
        except UserError as error:
            return [Item(path, name, PurePosixPath(name).parent.name, error=str(error))]

    def _holds_photo(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
        if not is_readable(member) or (self._upload and self.left_out.count > self._settings.max_gallery):  # 100,000 take many seconds
            return False
        try:
            with archive.open(member) as file:
                return holds_photo(file)
        except Exception:  # zipfile raises many kinds of errors for a damaged member
            return False

    def _in_folder(self, top: Path) -> Iterator[Item]:
        """The photos in a folder and its sub-folders. A link to a folder is followed, except back to a folder that it lies in."""
        waiting: list[tuple[Path, tuple[str, ...]]] = [(top, (os.path.realpath(top),))]
        while waiting:
            folder, above = waiting.pop()
            self.left_out.folder(str(folder))
            try:
                names = sorted(os.listdir(folder))
            except OSError as error:
                self._notes.append(f"The folder “{shown_name(folder.name)}” can't be read ({error.strerror}): left out.")
                continue
            below: list[tuple[Path, tuple[str, ...]]] = []
            for name in names:
                path = Path(folder, name)
                if not os.path.isdir(path):
                    yield from self._at_file(path)
                elif is_hidden(name):
                    self.left_out.file(str(path), "hidden folder")
                elif _leads_back(real := os.path.realpath(path), above):
                    self._notes.append(LOOP.format(shown_name(name)))
                else:
                    below.append((path, (*above, real)))
            waiting += reversed(below)

    def _at_file(self, path: Path) -> Iterable[Item]:
        alone = [Item(path, str(path), path.absolute().parent.name)]
        if path.suffix.lower() != ".zip" or is_hidden(path.name):
            return alone if self.takes(str(path), path.name, lambda: holds_photo(path)) else []
        return self.in_zip_or_error(path, str(path))


def _ends(link: Path) -> tuple[str, tuple[str]]:
    """Where a link leads, and the folder that it lies in."""
    return os.path.realpath(link), (os.path.realpath(link.parent),)


def _leads_back(folder: str, above: tuple[str, ...]) -> bool:
    """Whether a folder is one of those above it, or holds one of them."""
    return any(each == folder or each.startswith(folder.rstrip(os.sep) + os.sep) for each in above)
