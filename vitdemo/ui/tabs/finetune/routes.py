"""The Fine-tune tab's routes: upload photos, rename classes, start and follow the training, inspect and use the result."""

import secrets
from dataclasses import replace
from threading import Lock

from vitdemo.core.config import ASSETS
from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.inference.loading import import_first
from vitdemo.core.names import check_name, shown_name
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.errors import without_paths
from vitdemo.ui.server.page_routes import Caller, File, Html, OfSession, TabRoutes, page_route
from vitdemo.ui.tabs.finetune.downloads import NOTHING_YET, pack, report_of
from vitdemo.ui.tabs.finetune.messages import (
    ChangeClasses,
    Estimate,
    GiveClasses,
    OfCell,
    OfClass,
    OfRun,
    OwnModel,
    PollSession,
    RunsCompared,
    SessionStatus,
    StartTraining,
    TestPhoto,
)
from vitdemo.ui.tabs.finetune.report_page import report_html, thumbnail, uri_of
from vitdemo.ui.tabs.finetune.runs import compared, picker_title, remove, run_of, run_rows
from vitdemo.ui.tabs.finetune.session import FinetuneSession, changes_of, samples_of, taken_of, titles_of
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions
from vitdemo.ui.tabs.finetune.tester import Tested, ask_both
from vitdemo.ui.templating import html

SAMPLE_CLASSES = ASSETS / "examples" / "unseen"
CLASS_THUMBNAILS = 6  # shown per class
LOAD_SECONDS = 120.0  # timeout for loading a model
MAX_CLASS_PHOTOS = 400  # shown of a class, to leave some out
MAX_CELL_PHOTOS = 60  # shown per cell of the confusion matrix


class FinetuneRoutes(TabRoutes):
    """What the Fine-tune tab's script may ask."""

    name = "finetune"

    def __init__(self, sessions: FinetuneSessions):
        self._sessions = sessions
        self._measuring = Lock()

    @page_route(starts_work=True)
    def give(self, asked: GiveClasses, caller: Caller) -> OfSession:
        """Start a session with photos."""
        from vitdemo.core.photos.gallery import Gallery
        from vitdemo.core.photos.search import find_items, uploaded_items

        if asked.files == "examples":
            items = Gallery(replace(item, name=item.path.relative_to(SAMPLE_CLASSES).as_posix()) for item in find_items([SAMPLE_CLASSES]))
        else:
            files = gallery_upload.uploads_of(asked.files)
            items = uploaded_items(files, self._sessions.settings, command="finetune", others=gallery_upload.names_of(asked.others))
        session = self._sessions.create(items)
        session.changes = titles_of(items)
        return OfSession(session.id)

    @page_route()
    def poll(self, asked: PollSession, caller: Caller) -> SessionStatus:
        """The status of a session."""
        session = self._sessions.get(asked.session)
        status = SessionStatus(session.state, len(session.read), len(session.items), session.error)
        if session.state == "ready" and asked.data:
            status.data, status.asked = _data(session), session.shown.asked if session.shown else None
        if job := session.job:
            at_work, status.job = session.at_work, job.state  # read before the events, so that the final status has all events
            status.events = job.events(max(0, asked.start))
            guesses = [event.pop("guesses") for event in status.events if "guesses" in event][-1:]
            status.guesses = [_guess(session, row) for rows in guesses for row in rows]
            status.place, status.error = self._sessions.jobs.place(job), without_paths(job.error)
            if session.shown is not at_work and (report := report_of(session)):
                status.report = report_html(session, report)
            status.runs = html("finetune/runs", runs=run_rows(session), percent=percent)
        return status

    @page_route()
    def change(self, asked: ChangeClasses, caller: Caller) -> None:
        """Rename, merge or exclude classes, and take folders as splits."""
        session = self._sessions.get(asked.session)
        if session.job and not session.job.over:
            raise UserError("Classes can't change while they are being learned: stop it first.")
        if not asked.names and not asked.folders:
            session.without.clear()
            session.changes, session.taken_as = session.first_changes(), {}
        session.changes = changes_of(asked.names, session.changes)
        session.taken_as = taken_of(asked.folders, session.taken_as)

    @page_route()
    def photos(self, asked: OfClass, caller: Caller) -> Html:
        """The photos of a class, each to be left out by itself, or taken again."""
        session = self._sessions.get(asked.session)
        placed = {id(sample.item): sample.label for sample in replace(session, without=set()).placed_so_far().samples}
        shown = [number for number, item in enumerate(session.items) if placed.get(id(item)) == asked.label and session.read[number][1]]
        rows = [{"number": each, "uri": uri_of(session.read[each][1]), "out": each in session.without} for each in shown[:MAX_CLASS_PHOTOS]]
        return Html(html("finetune/photos", rows=rows, label=asked.label, more=len(shown) - len(rows)))

    @page_route()
    def without(self, asked: OfClass, caller: Caller) -> None:
        """Leave a photo out, or take it again."""
        session = self._sessions.get(asked.session)
        if session.busy:
            raise UserError("Photos can't change while they are being learned: stop it first.")
        if not 0 <= asked.number < len(session.items):
            raise UserError("There is no such photo: give the photos again.")
        session.without ^= {asked.number}

    @page_route(starts_work=True)
    def start(self, asked: StartTraining, caller: Caller) -> None:
        """Start fine-tuning with the selected settings."""
        session = self._sessions.get(asked.session)
        self._sessions.start(session, asked.model, _recipe_of(asked), caller.client)
        run_of(session).asked = {"preset": _preset_of(asked), "recipe": asked.recipe}

    @page_route()
    def estimate(self, asked: StartTraining, caller: Caller) -> Estimate:
        """How long it would take to train with the selected settings, by a measured pass."""
        import_first()
        from vitdemo.finetune.learning.estimate import measure, seconds

        session, recipe = self._sessions.get(asked.session), _recipe_of(asked)
        session.check_ready()
        samples, store = session.data(recipe.seed, recipe.validation).samples, self._sessions.store
        loading = store.get(asked.model)
        if not loading.done.is_set():
            return Estimate(None, len(samples))
        vit = loading.result()
        with self._measuring:  # each takes time and memory, and two at once would slow each other
            if vit.name not in session.passes:
                session.passes[vit.name] = measure(vit, store.engine, samples, self._sessions.settings)
        return Estimate(seconds(session.passes[vit.name], len(samples), vit.adapter.layers, recipe), len(samples))

    @page_route()
    def stop(self, asked: OfSession, caller: Caller) -> None:
        """Stop the job and keep the best weights so far."""
        if job := self._sessions.get(asked.session).job:
            self._sessions.jobs.stop(job)

    @page_route()
    def cell(self, asked: OfCell, caller: Caller) -> Html:
        """The photos of one cell of the confusion matrix."""
        session = self._sessions.get(asked.session)
        report = report_of(session) or {"photos": []}
        matches = [row for row in report["photos"] if (row["label"], row["taken"]) == (asked.label, asked.taken)]
        rows = [row | {"uri": thumbnail(session, row)} for row in matches[:MAX_CELL_PHOTOS]]
        return Html(html("finetune/cell", rows=rows, count=len(matches), label=asked.label, taken=asked.taken, percent=percent))

    @page_route()
    def looks(self, asked: OfSession, caller: Caller) -> Html:
        """Compare attention before and after fine-tuning on one photo."""
        from vitdemo.ui.tabs.finetune.compare_attention import before_and_after

        session = self._sessions.get(asked.session)
        return Html(before_and_after(self._sessions, session, self._own_model(session)[0]))

    @page_route()
    def test(self, asked: TestPhoto, caller: Caller) -> Tested:
        """A photo under the fine-tuned model and under the original."""
        session = self._sessions.get(asked.session)
        store, own = self._sessions.store, self._own_model(session)[0]
        before, now = (store.get(name).result(LOAD_SECONDS) for name in (run_of(session).model, own))
        return ask_both(asked.path, asked.name, before, now, store.engine, self._sessions.settings)

    @page_route()
    def use(self, asked: OfSession, caller: Caller) -> OwnModel:
        """Make the fine-tuned model one that the model picker may select."""
        session = self._sessions.get(asked.session)
        name, _ = self._own_model(session)
        return OwnModel(name, picker_title(run_of(session)))

    @page_route()
    def download(self, asked: OfSession, caller: Caller) -> File:
        """Write a zip of the model in timm's layout."""
        return File(str(pack(self._sessions, self._sessions.get(asked.session))))

    @page_route()
    def show(self, asked: OfRun, caller: Caller) -> None:
        """Show another run's result."""
        session = self._sessions.get(asked.session)
        session.shown = session.run(asked.run)

    @page_route()
    def title(self, asked: OfRun, caller: Caller) -> OwnModel | None:
        """Give a run another name. Returns: its model, where it has been used."""
        run = self._sessions.get(asked.session).run(asked.run)
        run.title = check_name(asked.title, "run")
        if not run.own:
            return None
        self._sessions.store.add(run.own[1], run.folder, shown_name(run.title))
        return OwnModel(run.own[1], picker_title(run))

    @page_route()
    def remove(self, asked: OfRun, caller: Caller) -> None:
        """Remove a run and its model."""
        session = self._sessions.get(asked.session)
        remove(session, session.run(asked.run))

    @page_route()
    def against(self, asked: OfRun, caller: Caller) -> RunsCompared:
        """Compare two runs on the photos that both were asked about."""
        session = self._sessions.get(asked.session)
        return RunsCompared(compared(session.run(asked.run), session.run(asked.other)))

    def _own_model(self, session: FinetuneSession) -> tuple[str, dict]:
        """Register a session's model. Returns: its name and its report. Raises: UserError where there is none yet."""
        if (report := report_of(session)) is None:
            raise UserError(NOTHING_YET)
        run, made = run_of(session), (session.result / "report.json").stat().st_mtime_ns  # the same run may have gone on
        if run.own is None or run.own[0] != made:
            run.own = made, f"own:{secrets.token_urlsafe(18)}"
            self._sessions.store.add(run.own[1], run.folder, shown_name(run.title))
        return run.own[1], report


def _preset_of(asked: StartTraining) -> str:
    return asked.preset if asked.preset in PRESETS else "quick"


def _recipe_of(asked: StartTraining) -> Recipe:
    return Recipe.read(asked.recipe, PRESETS[_preset_of(asked)].recipe, title="“{title}”")


def _data(session: FinetuneSession) -> str:
    """The classes with counts and thumbnails as HTML, or the reason why fine-tuning can't use them."""
    number_of_item = {id(item): index for index, item in enumerate(session.items)}
    placed = session.placed_so_far()
    try:
        data = session.data()
    except UserError as error:
        names, notes = sorted({sample.label for sample in placed.samples}), [*session.notes, *placed.notes]
        shown = {"notes": notes, "names": names, "folders": placed.folders, "changed": session.changed}
        return html("finetune/data", classes=[], error=str(error), totals={}, **shown)
    counts = data.counts()
    classes = [
        {
            "label": label,
            "counts": counts[label],
            "photos": sum(counts[label].values()),
            "thumbnails": [uri_of(session.read[number_of_item[id(sample.item)]][1]) for sample in samples[:CLASS_THUMBNAILS]],
        }
        for label, samples in sorted(samples_of(data).items())
    ]
    totals = {split: sum(class_counts[split] for class_counts in counts.values()) for split in ("train", "validation", "test")}
    shown = {"classes": classes, "notes": data.notes, "totals": totals, "folders": placed.folders, "changed": session.changed}
    return html("finetune/data", error="", names=[], **shown)


def _guess(session: FinetuneSession, row: dict) -> dict:
    return row | {"uri": thumbnail(session, row), "label": shown_name(row["label"]), "taken": shown_name(row["taken"])}
