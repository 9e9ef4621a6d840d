// A gallery: photos are given, its job is started and followed. Nothing a visitor named becomes HTML here.
import { fill, finders, list, say } from "../lib/dom.js";
import { clock, count } from "../lib/format.js";
import { RENAMED } from "../lib/models.js";
import { follow, GONE, known, rpc } from "../lib/rpc.js";
import { hearFiles, Uploads } from "../lib/upload.js";

export const FINAL = ["done", "stopped", "failed"];
const START_PATIENCE = 60_000; // milliseconds for the server to take up what was sent

export class Gallery {
  /**
   * @param {HTMLElement} element has the markup of gallery_upload.html
   * @param {{limits: import("../lib/upload.js").Limits, tab: string}} value the tab, whose routes are asked
   * @param {string} key under which the browser remembers the gallery
   * @param {{show: () => void, asked: () => object, progress: (answer: any) => number | null, gone?: () => void}} heard show() forgets what was on show, for
   *   another gallery; asked() says what else to ask for progress; progress(answer) gives the milliseconds until the next look, or null when it
   *   is over; gone() hears that the gallery of before a reload is not there any more
   */
  constructor(element, { limits, tab }, key, heard) {
    this.tab = tab;
    this.key = key;
    this.heard = heard;
    const { $, $$ } = finders(element);
    this.$ = $;
    this.uploads = new Uploads(limits);
    this.id = null; // of the gallery on show
    this.uploading = null;
    this.asking = false; // photos are on their way to the server: the gallery on show goes on in silence
    this.told = null; // how far it is, as last heard
    this.settled = false; // its answers are there, and nothing is on its way
    this.starting = 0; // number of the newest start
    hearFiles(element, (named) => this.give(named));
    for (const samples of $$("[data-samples]")) {
      samples.addEventListener("click", () => {
        this.stay();
        this.start(samples.dataset.samples);
      });
    }
    $(".again").addEventListener("click", () => {
      this.stay();
      this.begin("again", { gallery: this.id });
    });
    new MutationObserver(() => this.offer()).observe(document.documentElement, { attributeFilter: ["data-model"] });
    document.addEventListener(RENAMED, () => this.nameAgain());
    this.$(".stop").addEventListener("click", () => {
      if (this.uploading) this.uploading.abort();
      else if (this.id) rpc(`${tab}/stop`, { gallery: this.id });
      this.$(".stop").hidden = true;
    });
  }

  // Takes up the gallery that the page showed before a reload.
  resume() {
    const kept = sessionStorage.getItem(this.key);
    if (kept) this.show(kept);
  }

  // Nothing is uploaded any more, and nothing said of what was.
  stay() {
    this.fail("");
    say(this.$(".left-out"), "");
    this.uploading?.abort();
    this.uploading = null;
  }

  fail(text) {
    say(this.$(".gallery-error"), text);
  }

  progress(text, share = null, stoppable = true) {
    this.settled = false;
    this.$(".again").hidden = true;
    this.$(".run").hidden = false;
    this.$(".run-text").setAttribute("aria-live", stoppable ? "off" : "polite"); // not every step aloud: the end is
    this.$(".run-text").textContent = text;
    const bar = this.$(".run .bar");
    bar.style.visibility = share === null ? "hidden" : "visible";
    fill(bar, share || 0);
    this.$(".stop").hidden = !stoppable;
  }

  async give(named) {
    this.fail("");
    const { files, others } = await this.uploads.sort(named);
    if (!files.length) return this.fail("There are no photos in what you gave: give photos, a folder or a zip that holds some.");
    const why = this.uploads.refusal(files);
    if (why) return this.fail(why);
    this.uploading?.abort();
    say(this.$(".left-out"), this.uploads.leftOut(files));
    this.starting++; // what an earlier start brings is not wanted any more
    const mine = (this.uploading = new AbortController());
    this.asking = true;
    try {
      await this.start(await this.uploads.send(files, mine.signal, (text, share) => this.progress(text, share)), others);
    } catch (error) {
      if (this.uploading !== mine) return; // other photos are on their way instead
      this.showAgain();
      if (!mine.signal.aborted) this.fail(`The upload failed: ${error.message}`);
    } finally {
      if (this.uploading === mine) this.uploading = null;
    }
  }

  start(files, others = []) {
    return this.begin("start", { files, others });
  }

  // Begins a gallery by one of the server's ways, with the selected model.
  async begin(way, asked) {
    const mine = ++this.starting;
    this.asking = true;
    this.progress("Starting …", 1, false);
    const answer = await rpc(`${this.tab}/${way}`, { ...asked, model: await known("model") }, START_PATIENCE);
    if (mine !== this.starting) return; // other photos were given meanwhile
    if (answer?.gallery) return this.show(answer.gallery);
    this.showAgain();
    this.fail(answer?.error || "The server does not answer: check the connection and give the photos again.");
  }

  // Shows none, as before the first one.
  close() {
    this.$(".stop").click();
    sessionStorage.removeItem(this.key);
    Object.assign(this, { id: null, told: null, settled: false });
    this.starting++;
    this.$(".run").hidden = true;
    say(this.$(".notes"), "");
    this.$(".drop").classList.remove("given");
    this.heard.show();
    this.heard.gone?.();
  }

  showAgain() {
    this.asking = false;
    if (this.told) this.tell(this.told);
    else this.$(".run").hidden = true;
  }

  // Offers the photos to the model that is selected, where another one has answered.
  async offer() {
    const { id } = this;
    if (!this.settled) return;
    const answer = await rpc(`${this.tab}/offer`, { gallery: id, model: await known("model") });
    if (id !== this.id || !this.settled) return;
    this.$(".again").hidden = !answer?.title;
    this.$(".again").textContent = `Run again with ${answer?.title}`;
  }

  // The model that answered has another title, maybe.
  async nameAgain() {
    const { id } = this;
    if (!this.settled) return;
    const answer = await rpc(`${this.tab}/poll`, { gallery: id, ...this.heard.asked() });
    if (id !== this.id || !this.settled || !answer?.model) return;
    this.told = { ...this.told, model: answer.model };
    this.tell(this.told);
  }

  show(id) {
    Object.assign(this, { id, asking: false, told: null });
    sessionStorage.setItem(this.key, id);
    this.$(".drop").classList.add("given");
    this.heard.show();
    follow(`${this.tab}/poll`, () => ({ gallery: id, ...this.heard.asked() }), () => this.id === id, (answer) => this.hear(answer), () => this.fail(GONE));
  }

  hear(answer) {
    if (answer.error && !answer.state) {
      const shown = this.told;
      sessionStorage.removeItem(this.key);
      this.id = this.told = null;
      if (!this.asking) this.$(".run").hidden = true;
      this.settled = false;
      this.$(".again").hidden = true;
      this.fail(answer.error);
      if (!shown) {
        this.$(".drop").classList.remove("given");
        this.heard.gone?.();
      }
      return null;
    }
    this.told = answer;
    if (!this.asking) this.tell(answer);
    return this.heard.progress(answer);
  }

  tell(answer) {
    list(this.$(".notes"), answer.notes);
    const done = `${answer.done.toLocaleString("en")} of ${count(answer.total, "photo")}`;
    const share = answer.total ? answer.done / answer.total : 1;
    const errors = answer.wrong ? `, ${answer.wrong} of them can't be read` : "";
    const speed = answer.speed ? ` · ${answer.speed.toFixed(1)} photos a second` : "";
    if (answer.state === "failed") {
      this.fail(answer.text);
      answer.done ? this.progress(`Ended after ${done}.`, share, false) : (this.$(".run").hidden = true);
    } else if (answer.state === "done") this.progress(`Done: ${done}${errors} · by ${answer.model}${speed}`, 1, false);
    else if (answer.state === "stopped") this.progress(`Stopped after ${done}${errors}. What is done stays. · by ${answer.model}`, share, false);
    else if (answer.state === "running") {
      const left = answer.speed ? ` · ${clock((answer.total - answer.done) / answer.speed)} left` : "";
      this.progress(`${done} · ${answer.model}${speed}${left}`, share);
    } else this.progress(answer.text, answer.share ?? 0);
    this.settled = FINAL.includes(answer.state);
    this.offer();
  }
}
