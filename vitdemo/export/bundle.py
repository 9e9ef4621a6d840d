"""A model with everything that belongs to it, in one folder: written to a temporary folder, measured, and moved when complete."""

import json
import os
import shutil
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import trace
from vitdemo.core.models.vit import Vit
from vitdemo.core.outputs import check_new_folder
from vitdemo.core.photos import decoding
from vitdemo.core.photos.gallery import Item, spread_evenly
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.samples import drawings
from vitdemo.export import formats, known_answer, parity, quantize, runtimes, serving
from vitdemo.export.parity import Agreement, ParitySample
from vitdemo.export.place import beside, move
from vitdemo.export.plan import Plan
from vitdemo.export.report import TEMPLATES, Report, ReportRow, concerns, render

DRAWINGS = "the drawings that come with vitdemo"
CALIBRATION = 32  # photos for the scales of a static recipe
TRACED = 4  # photos on which features and attention are compared
CLOSE = 0.15  # relative difference up to which times and sizes count as equal: then the recipe that agrees best is shipped
NEVER_REFUSES = "Outside this app it refuses nothing: it names a class for every photo, however unfamiliar."
STAGES = ("ask", "write", "quantise", "load", "compare", "time", "pack")  # in order; quantise only for int8, load only for the others


@dataclass(frozen=True)
class ExportStep:
    """The progress of an export.

    Attributes:
        stage: one of STAGES.
        phase: what is being done, for people.
        done, total: how many of how many are done; 0 of 0 where the total is unknown.
    """

    stage: str
    phase: str
    done: int = 0
    total: int = 0


def export(
    vit: Vit,
    engine: Engine,
    plan: Plan,
    output: Path,
    settings: Settings,
    *,
    photos: list[Item] | None = None,
    calibration: list[Item] | None = None,
) -> Generator[ExportStep | Report, None, None]:
    """Export a model as a bundle. Yields an ExportStep whenever there is progress, and finally the Report.

    Closing the iterator, or any error, leaves nothing behind.

    Args:
        output: a folder that is new or empty.
        photos: photos to compare on; by default the calibration photos that are not used for calibration, else the bundled pictures.
        calibration: photos from which a static int8 recipe gets its scales.

    Raises: UserError for a model that can't be exported, or a folder that can't be used.
    """
    check_new_folder(output)
    serving.check(plan)
    with beside(output, 3 * plan.expected_bytes(vit.parameters) + 4 * vit.parameters) as folder:
        scales, photos = _share_out(photos, calibration, plan, settings)
        given = bool(photos)
        source, photos = ("those that were given", photos) if given else (DRAWINGS, drawings())
        sample = None
        for progress in parity.read_sample(photos, source, vit, engine, settings, given=given):
            if isinstance(progress, ParitySample):
                sample = progress
            else:
                yield ExportStep("ask", "Asking the original", progress, len(photos))
        assert sample is not None  # it comes last
        work = _Work(vit, engine, plan, folder, sample, scales, settings)
        yield from work.make()
        yield ExportStep("pack", "Writing what belongs to it")
        work.write_rest()
        move(folder, output)
    yield work.report


class _Work:
    """One export in progress."""

    def __init__(self, vit: Vit, engine: Engine, plan: Plan, folder: Path, sample: ParitySample, scales: list[Item], settings: Settings):
        self.vit, self.engine, self.plan, self.folder, self.sample = vit, engine, plan, folder, sample
        self.scales, self.settings = scales, settings
        self.outputs = formats.output_names(vit.labels, plan)
        self.path = folder / plan.file
        self.report: Report

    def make(self) -> Iterator[ExportStep]:
        """Write the model, load it back, compare and time it."""
        yield ExportStep("write", f"Writing {self.plan.file}")
        formats.write(self.vit, self.plan, self.folder)
        if self.plan.precision == "int8":
            yield from self._quantise()
        else:
            yield ExportStep("load", "Loading it back")
            run = runtimes.open_model(self.path, self.plan, self.outputs)
            agreement = None
            for progress in self._compare(run):
                if isinstance(progress, Agreement):
                    agreement = progress
                else:
                    yield ExportStep("compare", "Comparing", progress, len(self.sample.crops))
            assert agreement is not None  # it comes last
            yield ExportStep("time", "Timing")
            seconds = parity.time_in_turn({"torch": self._torch, "exported": self._side(run)})
            row = ReportRow(f"{self.plan.precision}", _size(self.path), agreement, seconds["exported"], shipped=True)
            self._report((row,), seconds["torch"], "", signed=False)

    def _quantise(self) -> Iterator[ExportStep]:
        """Make all recipes from the fp32 model and measure them; the chosen recipe's file becomes the model's file."""
        base = self.path.rename(self.path.with_name("fp32.onnx"))
        recipes = quantize.recipes(vnni=quantize.has_vnni(), calibrated=bool(self.scales))
        inputs = self._calibration() if self.scales else []
        files, runs, agreements = {"fp32": base}, {"fp32": runtimes.open_onnx(base)}, {}
        for number, recipe in enumerate(recipes):
            yield ExportStep("quantise", f"Quantising: {recipe.name}", number, len(recipes))
            files[recipe.name] = self.folder / f"{number}.onnx"
            quantize.quantize(base, files[recipe.name], recipe, inputs)
            runs[recipe.name] = runtimes.open_onnx(files[recipe.name])
        for name, run in runs.items():
            for progress in self._compare(run):
                if isinstance(progress, Agreement):
                    agreements[name] = progress
                else:
                    yield ExportStep("compare", f"Comparing: {name}", progress, len(self.sample.crops))
        yield ExportStep("time", "Timing all of them in turn")
        seconds = parity.time_in_turn({"torch": self._torch} | {name: self._side(run) for name, run in runs.items()})
        rows = [ReportRow(name, _size(files[name]), agreements[name], seconds[name]) for name in files]
        chosen = choose(rows[1:], self.plan.prefer)
        recipe = next(candidate for candidate in recipes if candidate.name == chosen.name)
        runs.clear()  # Windows can't move an open file
        files[chosen.name].rename(self.path)
        for path in files.values():
            path.unlink(missing_ok=True)
        marked = tuple(replace(row, shipped=row is chosen) for row in rows)
        self._report(marked, seconds["torch"], recipe.name, signed=recipe.signed)

    def _compare(self, run: runtimes.Runner) -> Iterator[int | Agreement]:
        return parity.compare(self.sample, run, self.outputs[0], baked=self.plan.baked, labelled=bool(self.vit.labels))

    def _calibration(self) -> list[np.ndarray]:
        """Return the calibration photos as inputs of the graph, (1, …) each."""
        crops = [np.asarray(self.vit.preprocessing.crop(photo.image)) for photo in _readable(self.scales, self.settings)]
        if not crops:
            raise UserError("None of the photos to calibrate on can be read: give others.")
        return [parity.inputs(crop[None], self.vit.preprocessing, baked=self.plan.baked) for crop in crops]

    def _side(self, run: runtimes.Runner):
        inputs = {batch: self.sample.inputs(np.arange(batch) % len(self.sample.crops), baked=self.plan.baked) for batch in parity.BATCHES}
        return lambda batch: run(inputs[batch])

    def _torch(self, batch: int) -> None:
        indices = np.arange(batch) % len(self.sample.crops)
        self.engine.logits(self.vit, torch.from_numpy(self.sample.inputs(indices, baked=False)))

    def _report(self, rows: tuple[ReportRow, ...], torch_seconds: dict[int, float], recipe: str, *, signed: bool) -> None:
        shipped = next(row for row in rows if row.shipped)
        base = next((row for row in rows if row.name == "fp32" and row is not shipped), None)
        strange = self.sample.source == DRAWINGS and not all(self.sample.targets)  # some drawings show no class of this model
        self.report = Report(
            model=self.vit.name,
            source=self.vit.source,
            parameters=self.vit.parameters,
            plan=self.plan,
            recipe=recipe,
            rows=rows,
            torch_seconds=torch_seconds,
            photos=self.sample.source,
            extras=self._extras(),
            runtime=runtimes.version(self.plan.format),
            torch=torch.__version__,
            device=str(self.vit.device),
            cores=os.cpu_count() or 1,
            warnings=concerns(shipped, base, signed=signed, strange=strange)
            + serving.warnings(self.plan)
            + self.sample.notes
            + ((NEVER_REFUSES,) if self.vit.ood and self.vit.ood.refuses else ()),
        )

    def _extras(self) -> dict[str, float]:
        """Return the largest difference of each extra output from this app's own result."""
        if len(self.outputs) == 1:
            return {}
        run, differences = runtimes.open_model(self.path, self.plan, self.outputs), dict.fromkeys(self.outputs[1:], 0.0)
        for index in range(min(TRACED, len(self.sample.crops))):
            results = run(self.sample.inputs([index], baked=self.plan.baked))
            tensor = torch.from_numpy(self.sample.inputs([index], baked=False))
            expected = {"features": self.engine.logits_and_features(self.vit, tensor)[1].numpy()}
            if "attention" in differences:
                expected["attention"] = self.engine.run(partial(trace, self.vit, tensor[0])).attention[None].numpy()
            for name in differences:
                differences[name] = max(differences[name], float(np.abs(results[name] - expected[name]).max()))
        return differences

    def write_rest(self) -> None:
        """Write labels, preprocessing, the known answer, the report, the serving kits and the README."""
        formats.write_labels(self.vit, self.folder / "labels.json")
        recipe = asdict(self.vit.preprocessing) | {"input": "uint8" if self.plan.baked else "float32"}
        (self.folder / "preprocessing.json").write_text(json.dumps(recipe, indent=1) + "\n", "utf-8")
        shutil.copyfile(TEMPLATES / "preprocess.py", self.folder / "preprocess.py")
        write_decoding(self.folder / "decoding")
        reference = known_answer.choose(self.vit, self.engine, self.sample, self.settings)
        known_answer.write(self.vit, self.plan, self.outputs, self.folder, reference)
        self.report.write(self.folder)
        serving.write(self.plan, self.vit, self.outputs, self.folder)
        text = render(
            "README.md.jinja",
            report=self.report,
            plan=self.plan,
            outputs=self.outputs,
            labels=len(self.vit.labels),
            icc=self.vit.preprocessing.icc,
            credit=reference.credit,
        )
        (self.folder / "README.md").write_text(text, "utf-8")


def write_decoding(folder: Path) -> None:
    """Copy the app's own files that decode a photo, which need neither torch nor the rest of the app."""
    folder.mkdir()
    for path in sorted(Path(decoding.__file__).parent.glob("*.py")):
        (folder / path.name).write_text(path.read_text("utf-8").replace(decoding.__name__, "decoding"), "utf-8")


def choose(rows: list[ReportRow], prefer: str) -> ReportRow:
    """Choose an int8 recipe: of those that agree, the fastest at batch 1 or the smallest; where none agrees, the closest one.

    Timing is noisy, so of the recipes within 15 % of the best the one with the best agreement is chosen.
    """

    def cost(row: ReportRow) -> float:
        return row.seconds[1] if prefer == "fastest" else row.bytes

    agreeing = [row for row in rows if row.agreement.agrees]
    if not agreeing:
        return max(rows, key=lambda row: (row.agreement.agreement, -row.agreement.mean))
    best = min(map(cost, agreeing))
    return max((row for row in agreeing if cost(row) <= (1 + CLOSE) * best), key=lambda row: (row.agreement.agreement, -row.agreement.mean))


def _share_out(photos: list[Item] | None, calibration: list[Item] | None, plan: Plan, settings: Settings) -> tuple[list[Item], list[Item]]:
    """Divide the photos into those for calibration and at most `compare_photos`, evenly taken, to compare on; they never overlap."""
    scales: list[Item] = []
    if calibration and plan.precision == "int8":
        scales = spread_evenly(calibration, min(CALIBRATION, max(1, len(calibration) // 2)))
    taken = {(item.path, item.name) for item in scales}
    rest = [item for item in photos or calibration or [] if (item.path, item.name) not in taken]
    return scales, spread_evenly(rest, settings.compare_photos)


def _readable(items: list[Item], settings: Settings) -> Iterator[Photo]:
    for ready in photos_ahead(items, lambda photo: photo, settings, ahead=4):
        if ready.made is not None:
            yield ready.made


def _size(path: Path) -> int:
    return path.stat().st_size
