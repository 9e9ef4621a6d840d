"""What visitors have here, of every kind, and when it goes."""

import threading
import time

from vitdemo.core.jobs import Jobs
from vitdemo.core.store import ModelStore
from vitdemo.ui.attention_scenes import Scenes
from vitdemo.ui.desk import Desk
from vitdemo.ui.embedding_runs import EmbeddingRuns
from vitdemo.ui.export_runs import Exports
from vitdemo.ui.finetune_runs import Lessons
from vitdemo.ui.gallery_runs import GalleryRuns
from vitdemo.ui.guard import sentence
from vitdemo.ui.served import scratch
from vitdemo.ui.turns import Turns

EVERY = 30  # seconds between two sweeps


class Visitors:
    """All visitors' things.

    Attributes:
        desk: where all their single photos are prepared.
        turns, looking, watching: whose request is the newest in Classify, in Attention, and for the header's model elsewhere.
        galleries, scenes, embeddings, lessons, exports: what the tabs keep.
        jobs: the one line of all long jobs.
    """

    def __init__(self, store: ModelStore):
        self.store, self.settings = store, store.settings
        self.turns, self.looking, self.watching = Turns(), Turns(), Turns()
        self.desk = Desk(store.settings.max_queue, store.coming)
        self.galleries = GalleryRuns(store)
        self.scenes = Scenes(store)
        self.embeddings = EmbeddingRuns(store)
        self.jobs = Jobs(store.settings)
        self.lessons = Lessons(store, self.jobs)
        self.exports = Exports(store, self.jobs)

    def leave(self, visitor: str) -> None:
        """A visitor has closed the page."""
        if visitor:
            for each in (self.store, self.turns, self.looking, self.watching, self.scenes, self.galleries, self.embeddings):
                each.leave(visitor)

    def keep_sweeping(self) -> None:
        """From now on, remove what has been here for too long."""
        threading.Thread(target=self._keep_sweeping, name="sweep", daemon=True).start()

    def sweep(self) -> None:
        """Remove what nobody has asked for as long as uploads are kept. What goes wrong with one kind is logged, and the others go on."""
        for each in (self.galleries, self.scenes, self.embeddings, self.lessons, self.exports, scratch(self.settings)):
            try:
                each.sweep()
            except Exception as error:
                sentence(error)

    @property
    def busy(self) -> bool:
        """Whether anything is at work that ends by itself."""
        return self.galleries.busy or self.embeddings.busy or self.lessons.busy or self.exports.busy

    def stop(self) -> None:
        """End what is at work; what is done of it stays."""
        for each in (self.galleries, self.embeddings, self.lessons, self.exports):
            each.stop()

    def close(self) -> None:
        """The app is going, and no child process goes on without it."""
        self.jobs.close()
        self.embeddings.mapper.close()

    def _keep_sweeping(self) -> None:
        while True:
            time.sleep(EVERY)
            self.sweep()
