// A training's progress in words.
import { clock, duration, percent } from "../lib/format.js";

/** Where a training stands, in words; `stopping` where it was told to stop. */
export function said(answer, events, epochs, stopping) {
  const last = events.at(-1);
  if (answer.job === "waiting") return answer.place > 1 ? `Waiting: ${answer.place} jobs are ahead of yours …` : "Waiting for another job …";
  const newest = epochs.at(-1);
  const where = newest?.stage === "blocks" ? ` Blocks: epoch ${newest.epoch} of ${newest.of}.` : "";
  const stays = newest ? " What was learned is kept: with the same model, classes and settings, training resumes from there." : "";
  if (answer.job === "done") {
    const nothing = events.some((each) => each.kind === "resumed") && !events.some((each) => each.kind === "epoch");
    return `Done.${where}${nothing ? " These settings are already trained to the end: change one, such as the seed, to train again." : ""}`;
  }
  if (answer.job === "stopped") return `Stopped.${where}${stays}`;
  if (answer.job === "failed") return `Ended.${where}${stays}`;
  if (stopping) return `Stopping …${where}`;
  if (!last) return "Getting ready …";
  const estimated = events.find((each) => each.kind === "estimate")?.seconds;
  const about = estimated > 5 ? ` About ${duration(estimated)} of work, by a measured pass.` : "";
  if (last.kind === "photos") return `Computing features: ${last.done} of ${last.total} photos, ${last.speed.toFixed(1)} a second.${about}`;
  if (last.kind === "note") return last.text + about;
  if (last.kind === "estimate") return `Getting ready …${about}`;
  if (last.kind === "step") {
    const left = newest?.stage === "blocks" ? ` · ${clock(newest.seconds_left)} left` : "";
    return `Blocks, epoch ${last.epoch} of ${last.of}: ${last.done} of ${last.total} photos${left}`;
  }
  if (newest?.stage === "head") return `The head is fitted: ${percent(newest.accuracy)} accuracy.`;
  if (newest) {
    return `Blocks, epoch ${newest.epoch} of ${newest.of}: ${percent(newest.accuracy)} accuracy · ${newest.photos_per_second.toFixed(0)} photos a second · ${clock(newest.seconds_left)} left for the blocks`;
  }
  return "Getting ready …";
}
