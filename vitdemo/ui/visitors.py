"""What visitors have here, of every kind, and when it goes."""

import threading
import time

from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.served_files import scratch_of
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.photo_queue import PhotoQueue
from vitdemo.ui.tabs.attention.sessions import AttentionSessions
from vitdemo.ui.tabs.classify.sessions import ClassifyJobs
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs
from vitdemo.ui.tabs.export.sessions import ExportSessions
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions

SWEEP_SECONDS = 30  # seconds between two sweeps


class Visitors:
    """All visitors' things.

    Attributes:
        photo_queue: where all visitors' single photos are prepared.
        classify_requests, attention_requests, picker_requests: each visitor's newest request in Classify, in Attention, and for the model
            picker elsewhere.
        classify_jobs, attention_sessions, embedding_jobs, finetune_sessions, export_sessions: what the tabs keep.
        jobs: the one queue of all long jobs.
    """

    def __init__(self, store: ModelStore):
        self.store, self.settings = store, store.settings
        self.classify_requests, self.attention_requests, self.picker_requests = LatestRequest(), LatestRequest(), LatestRequest()
        self.photo_queue = PhotoQueue(store.settings.max_queue, store.coming)
        self.classify_jobs = ClassifyJobs(store)
        self.attention_sessions = AttentionSessions(store)
        self.embedding_jobs = EmbeddingJobs(store)
        self.jobs = Jobs(store.settings)
        self.finetune_sessions = FinetuneSessions(store, self.jobs)
        self.export_sessions = ExportSessions(store, self.jobs)

    def leave(self, visitor: str) -> None:
        """A visitor has closed the page."""
        if visitor:
            for each in (
                self.store,
                self.classify_requests,
                self.attention_requests,
                self.picker_requests,
                self.attention_sessions,
                self.classify_jobs,
                self.embedding_jobs,
            ):
                each.leave(visitor)

    def keep_sweeping(self) -> None:
        """From now on, remove what has been here for too long."""
        threading.Thread(target=self._keep_sweeping, name="sweep", daemon=True).start()

    def sweep(self) -> None:
        """Remove what nobody has asked for as long as uploads are kept. What goes wrong with one kind is logged, and the others go on."""
        for each in (
            self.classify_jobs,
            self.attention_sessions,
            self.embedding_jobs,
            self.finetune_sessions,
            self.export_sessions,
            scratch_of(self.settings),
        ):
            try:
                each.sweep()
            except Exception as error:
                user_message(error)

    @property
    def busy(self) -> bool:
        """Whether anything is at work that ends by itself."""
        return self.classify_jobs.busy or self.embedding_jobs.busy or self.finetune_sessions.busy or self.export_sessions.busy

    def stop(self) -> None:
        """End what is at work; what is done of it stays."""
        for each in (self.classify_jobs, self.embedding_jobs, self.finetune_sessions, self.export_sessions):
            each.stop()

    def close(self) -> None:
        """The app is going, and no child process goes on without it."""
        self.jobs.close()
        self.embedding_jobs.mapper.close()

    def _keep_sweeping(self) -> None:
        while True:
            time.sleep(SWEEP_SECONDS)
            self.sweep()
