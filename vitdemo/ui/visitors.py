"""All state that the app keeps for visitors, and when it is removed."""

import threading
import time

from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.served_files import scratch_of
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.photo_queue import PhotoQueue
from vitdemo.ui.sessions.photo_requests import PhotoRequests
from vitdemo.ui.tabs.attention.sessions import AttentionSessions
from vitdemo.ui.tabs.classify.photo_answers import PhotoAnswers
from vitdemo.ui.tabs.classify.sessions import ClassifyJobs
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs
from vitdemo.ui.tabs.export.sessions import ExportSessions
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions

SWEEP_SECONDS = 30  # between two sweeps


class Visitors:
    """All visitors' queues, jobs and sessions.

    Attributes:
        photo_queue: the queue in which all visitors' single photos are prepared.
        classify_requests, attention_requests, comparison_requests: requests about a photo in Classify, in Attention, and for an export.
        picker_requests: each visitor's newest request for the model picker in other tabs.
        photo_answers: the answers to the samples, which are kept for all visitors.
        classify_jobs, attention_sessions, embedding_jobs, finetune_sessions, export_sessions: the tabs' jobs and sessions.
        jobs: the queue of all long jobs.
    """

    def __init__(self, store: ModelStore):
        self.store, self.settings = store, store.settings
        self.picker_requests = LatestRequest()
        self.photo_queue = PhotoQueue(store.settings.max_queue, store.expecting)
        self.classify_requests, self.attention_requests, self.comparison_requests = (PhotoRequests(self.photo_queue) for _ in range(3))
        self.classify_jobs = ClassifyJobs(store)
        self.attention_sessions = AttentionSessions(store)
        self.photo_answers = PhotoAnswers(self.attention_sessions)
        self.embedding_jobs = EmbeddingJobs(store)
        self.jobs = Jobs(store.settings)
        self.finetune_sessions = FinetuneSessions(store, self.jobs)
        self.export_sessions = ExportSessions(store, self.jobs)

    def leave(self, visitor: str) -> None:
        """Release what is held for a visitor who has closed the page."""
        if visitor:
            for part in (
                self.store,
                self.classify_requests,
                self.attention_requests,
                self.comparison_requests,
                self.picker_requests,
                self.attention_sessions,
                self.classify_jobs,
                self.embedding_jobs,
            ):
                part.leave(visitor)

    def retry(self, model: str) -> None:
        """Load a model again that could not be loaded, and answer the photos anew that another one answered in its place."""
        self.store.retry(model)
        for requests in (self.classify_requests, self.attention_requests, self.comparison_requests):
            requests.forget()

    def keep_sweeping(self) -> None:
        """Start a thread that calls `sweep` every SWEEP_SECONDS."""
        threading.Thread(target=self._keep_sweeping, name="sweep", daemon=True).start()

    def sweep(self) -> None:
        """Remove what nobody has requested for as long as uploads are kept. An error in one part is logged, and the other parts go on."""
        for part in (
            self.classify_jobs,
            self.attention_sessions,
            self.embedding_jobs,
            self.finetune_sessions,
            self.export_sessions,
            scratch_of(self.settings),
        ):
            try:
                part.sweep()
            except Exception as error:
                user_message(error)  # writes the log entry

    @property
    def busy(self) -> bool:
        """Whether work is under way that ends by itself."""
        return self.classify_jobs.busy or self.embedding_jobs.busy or self.finetune_sessions.busy or self.export_sessions.busy

    def stop(self) -> None:
        """Stop all work under way; finished results stay."""
        for part in (self.classify_jobs, self.embedding_jobs, self.finetune_sessions, self.export_sessions):
            part.stop()

    def close(self) -> None:
        """End all child processes, because the app ends."""
        self.jobs.close()
        self.embedding_jobs.mapper.close()

    def _keep_sweeping(self) -> None:
        while True:
            time.sleep(SWEEP_SECONDS)
            self.sweep()
