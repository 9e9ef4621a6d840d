"""The Attention tab's routes: other classes, one head, the answer without some heads, the erase test, downloads."""

import base64

from vitdemo.core.errors import UserError
from vitdemo.core.names import one_spelling
from vitdemo.ui.packing import pack
from vitdemo.ui.server.page_routes import Caller, TabRoutes, page_route
from vitdemo.ui.tabs.attention import compare, erase
from vitdemo.ui.tabs.attention.compare import ComparisonStatus
from vitdemo.ui.tabs.attention.downloads import Made, download
from vitdemo.ui.tabs.attention.erase import EraseStatus
from vitdemo.ui.tabs.attention.messages import (
    ClassMap,
    CompareMethods,
    Download,
    Follow,
    FoundClasses,
    HeadFile,
    OfClasses,
    OfHead,
    OfMap,
    SearchClasses,
    Votes,
    WithoutHeads,
    WithoutSome,
)
from vitdemo.ui.tabs.attention.page_data import answer_data, class_row, head_numbers
from vitdemo.ui.tabs.attention.sessions import AttentionSessions

MAX_FOUND_CLASSES = 8  # shown by a search
MAX_HEADS = 4096  # switched off at the same time


class AttentionRoutes(TabRoutes):
    """What the Attention tab's script may ask."""

    name = "attention"

    def __init__(self, sessions: AttentionSessions):
        self._sessions = sessions

    @page_route()
    def classes(self, asked: SearchClasses, caller: Caller) -> FoundClasses:
        """Search the classes by name, synset or index: exact matches first, then names that begin with the words, then by probability."""
        session = self._sessions.get(asked.session)
        vit = self._sessions.vit(session)
        words = one_spelling(asked.words).strip().casefold()[:100]
        if not words or not vit.labels:
            return FoundClasses()
        matches = []
        for label in vit.labels:
            names = [name.strip() for name in one_spelling(label.name).casefold().split(",")]
            if words in (label.synset, str(label.index)) or any(words in name for name in names):
                matches.append((words not in (*names, str(label.index)), not any(name.startswith(words) for name in names), label))
        probabilities = self._sessions.trace(session, vit).logits.softmax(-1)
        matches.sort(key=lambda match: (*match[:2], -float(probabilities[match[2].index])))
        rows = [
            class_row(vit, label.index, float(probabilities[label.index])) | {"whole": label.name}
            for _, _, label in matches[:MAX_FOUND_CLASSES]
        ]
        return FoundClasses(rows, max(0, len(matches) - MAX_FOUND_CLASSES))

    @page_route()
    def class_map(self, asked: OfMap, caller: Caller) -> ClassMap:
        """One class's map by a method, at every layer."""
        from vitdemo.attention.methods.gradients import check_target
        from vitdemo.attention.question import OF_A_CLASS, Question

        session, question = self._sessions.get(asked.session), Question.parse(asked.question)
        if question.method not in OF_A_CLASS:
            raise UserError(f"{question.method} is no map of a class: choose {', '.join(OF_A_CLASS)}.")
        vit = self._sessions.vit(session)
        target = check_target(vit, -1 if question.target is None else question.target)
        heats = self._sessions.class_map(session, vit, question, target).flatten(1).contiguous().numpy()
        probability = float(self._sessions.trace(session, vit).logits.softmax(-1)[target])
        return ClassMap(base64.b64encode(heats.astype("<f4").tobytes()).decode(), **class_row(vit, target, probability))

    @page_route()
    def votes(self, asked: OfClasses, caller: Caller) -> Votes:
        """The ledger of a class, or of its difference to another class."""
        from vitdemo.attention.methods.gradients import check_target
        from vitdemo.attention.methods.votes import ledger

        session = self._sessions.get(asked.session)
        vit = self._sessions.vit(session)
        trace = self._sessions.trace(session, vit)
        for target in (asked.target, asked.other):
            if target is not None:
                check_target(vit, target)
        try:
            found = ledger(vit, self._sessions.store.engine, trace, asked.target, asked.other)
        except UserError as error:  # its heads pass a gate
            return Votes(asked.target, asked.other, missing=str(error))
        logit = trace.logits[asked.target] - (0 if asked.other is None else trace.logits[asked.other])
        return Votes(
            target=asked.target,
            other=asked.other,
            heads=found.heads.tolist(),
            mlps=found.mlps.tolist(),
            embedding=found.embedding,
            biases=float(found.biases.sum()),
            constant=found.constant,
            total=found.total,
            logit=float(logit),
        )

    @page_route()
    def head(self, asked: OfHead, caller: Caller) -> HeadFile:
        """Write one head's attention at every layer to a file."""
        from vitdemo.attention.question import Question

        session = self._sessions.get(asked.session)
        head = Question.parse({"head": asked.head}).head
        trace = self._sessions.trace(session, self._sessions.vit(session))
        data, sections = pack(head_numbers(trace, head))
        return HeadFile(session.write(f"head-{head}.bin", data), sections)

    @page_route()
    def ablate(self, asked: WithoutHeads, caller: Caller) -> WithoutSome:
        """A session of the same photo in which these heads are off, and no others."""
        from vitdemo.attention.methods.ablation import moves

        session, heads = self._sessions.get(asked.session), asked.heads[:MAX_HEADS]
        if not all(isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair) for pair in heads):
            raise UserError("Name the heads to switch off by layer and head.")
        logits = []
        for made in (session.without(()), without := session.without(map(tuple, heads))):
            vit = self._sessions.vit(made)
            logits.append(self._sessions.trace(made, vit).logits)
        answer = answer_data(self._sessions, without, vit)
        self._sessions.keep(without)
        return WithoutSome(
            **answer, moves=[class_row(vit, move.label.index, move.before) | {"after": move.after} for move in moves(vit, *logits)]
        )

    @page_route()
    def erase(self, asked: OfMap, caller: Caller) -> None:
        """Start an erase test of a map."""
        erase.erase(self._sessions, self._sessions.get(asked.session), asked.question)

    @page_route()
    def erased(self, asked: Follow, caller: Caller) -> EraseStatus:
        """How far the erase test is."""
        return erase.erased(self._sessions.get(asked.session), asked.stop)

    @page_route(starts_work=True)
    def compare(self, asked: CompareMethods, caller: Caller) -> None:
        """Start a comparison of all methods."""
        compare.compare(self._sessions, self._sessions.get(asked.session), asked.target, asked.files, caller.client)

    @page_route()
    def compared(self, asked: Follow, caller: Caller) -> ComparisonStatus:
        """How far the comparison is."""
        return compare.compared(self._sessions, self._sessions.get(asked.session), asked.stop)

    @page_route()
    def download(self, asked: Download, caller: Caller) -> Made:
        """Make a file of the map, or a snippet of Python."""
        return download(self._sessions, self._sessions.get(asked.session), asked.question, asked.kind)
