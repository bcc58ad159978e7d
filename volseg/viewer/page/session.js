/** The right to write a scan, saving it, and the time spent on it. */
import { downloadMasks } from "./downloads.js";
import { differenceRuns } from "./masks.js";
import { element } from "./panels.js";
import * as server from "./server.js";

const RENEW_SECONDS = 10, RETRY_SECONDS = 10, IDLE_SECONDS = 300;
const GONE = [0, 404]; // no answer, or that of a server that knows nothing of this page
const ANEW = "volseg view was started anew, or the scan is gone; open the address that it printed";

export class Session {
  /** `tell` shows a sentence; `warn` keeps one in sight until it is answered, and "" takes it away. */
  constructor(model, { tell, warn, header }) {
    Object.assign(this, { model, tell, warn, header, troubles: new Map(), writer: "", saving: null, saved: model.facts.saved ?? "", aside: model.stamp, asideAt: "", kept: keptText(model.facts.kept) });
    this.scan = model.facts.name;
    this.base = Object.fromEntries(model.classes.map((one) => [one.name, one.base]));
    this.seconds = model.facts.seconds;
    this.active = performance.now();
    setInterval(() => this.#count(), 1000);
    setInterval(() => this.#renew(), RENEW_SECONDS * 1000);
    setInterval(() => this.saveAside(), model.facts.autosave_seconds * 1000);
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      window.addEventListener(kind, () => { this.active = performance.now(); }, { capture: true, passive: true });
    }
    window.addEventListener("beforeunload", (event) => { if (model.unsaved) event.preventDefault(); });
    window.addEventListener("pagehide", () => this.leave());
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.#comeBack(); });
  }

  /** Become the one tab that writes; without luck the page is read-only and says why. */
  async enter() {
    const { model } = this;
    if (model.facts.read_only) {
      this.#readOnly(model.facts.read_only_reason || "volseg view was started with --read-only");
      return;
    }
    try {
      this.writer = await server.enter(this.scan);
      this.#readOnly("");
    } catch (error) {
      this.#readOnly(error.message);
      if (model.unsaved) this.#trouble("writer", error);
      if (error.status === 409 || error.status === 0) setTimeout(() => this.#retry(), RETRY_SECONDS * 1000);
    }
  }

  /** The browser kept the page while another was shown: another tab may have written since. */
  async #comeBack() {
    if (this.model.facts.read_only) return;
    this.#readOnly("asking for the right to write again");
    await this.#retry();
  }

  async #retry() {
    try {
      this.writer = await server.enter(this.scan);
    } catch (error) {
      this.#readOnly(error.message);
      setTimeout(() => this.#retry(), RETRY_SECONDS * 1000);
      return;
    }
    const facts = await server.readFacts(this.scan).catch(() => null);
    if (facts?.classes.every((one) => this.base[one.name] === one.base) && facts.saved === this.saved && !(facts.unsaved && !this.model.unsaved)) {
      this.#readOnly("");
      this.#trouble("writer", null);
      this.tell("The scan is free now: you can edit it.");
    } else {
      this.leave();
      this.#readOnly("the other tab has changed the masks; reload to see and edit them");
    }
  }

  leave() {
    if (this.writer) server.leave(this.scan, this.writer);
    this.writer = "";
  }

  #readOnly(reason) {
    this.model.readOnly = reason;
    if (reason) this.model.use("look");
    this.model.changed("save", "tool", "work");
  }

  async #renew() {
    if (!this.writer) return;
    try {
      await server.renew(this.scan, this.writer);
      this.#trouble("gone", null);
    } catch (error) {
      if (GONE.includes(error.status)) { this.#trouble("gone", error); return; }
      this.writer = "";
      await this.enter(); // the computer slept; the masks are the same, or saving will say that they are not
    }
  }

  /** Say in one banner why work can't be saved, the last reason only, and offer a way to get it out; null: it can. */
  #trouble(kind, error) {
    const { troubles, model } = this;
    const gone = GONE.includes(error?.status);
    troubles.delete(gone ? "gone" : kind);
    if (error) troubles.set(gone ? "gone" : kind, error.status === 404 ? ANEW : error.message);
    const reason = [...troubles.values()].pop();
    const out = element("button", {}, "Download masks");
    out.addEventListener("click", () => downloadMasks(model, this.header).catch((problem) => this.tell(`Not downloaded: ${problem.message}`, true)));
    const place = this.aside === model.stamp && this.asideAt ? "kept aside" : "only in this page";
    const text = `Nothing can be saved now: ${reason}${/[.?]$/.test(reason) ? "" : "."}${model.unsaved ? ` Your unsaved work is ${place}.` : ""}`;
    this.warn("trouble", reason ? text : "", out);
  }

  #count() {
    const idle = performance.now() - this.active > IDLE_SECONDS * 1000;
    if (document.visibilityState === "visible" && !idle) this.seconds += 1;
    this.model.changed("time");
  }

  #told() {
    const { model } = this;
    return { writer: this.writer, base: this.base, aside: this.asideAt, seconds: Math.round(this.seconds), looked_at: model.lookedRanges, reviewer: model.facts.reviewer };
  }

  /** Save all masks; says whether they are saved. */
  async save() {
    const { model } = this;
    if (model.readOnly) { this.tell(`Not saved. ${model.whyNot}.`); return false; }
    const release = await this.#turn();
    const saved = await this.#writeAll();
    release();
    if (!saved) await this.saveAside();
    return saved;
  }

  async #writeAll() {
    const { model } = this;
    const { stamp, state: { mark, looked } } = model;
    try {
      const answer = await server.write(this.scan, "corrected", this.#told(), model.masks.voxels);
      this.base = answer.base;
      this.saved = answer.saved;
      Object.assign(this, { aside: stamp, asideAt: "" });
      this.#tellKept(answer.kept);
      for (const one of model.classes) one.corrected = answer.classes[one.name].changed_voxels > 0;
      model.markSaved(mark, looked);
      this.troubles.clear();
      this.#trouble("save", null);
      this.tell(`Saved. ${summary(answer.classes, model.classes)}`);
      return true;
    } catch (error) {
      this.tell("Not saved.", true);
      this.#trouble("save", error);
      return false;
    }
  }

  /** Wait until nothing is being saved; gives what ends one's own turn. */
  async #turn() {
    while (this.saving) await this.saving;
    let done;
    this.saving = new Promise((resolve) => { done = resolve; });
    this.model.changed("save");
    return () => {
      this.saving = null;
      done();
      this.model.changed("save", "active");
    };
  }

  /** Keep unsaved work aside, where the next visit finds it. */
  async saveAside() {
    const { model } = this;
    const { stamp } = model;
    if (!this.writer || this.saving || stamp === this.aside || !(model.unsaved || this.asideAt)) return;
    const release = await this.#turn();
    try {
      if (!model.unsaved) { // all of it was undone
        await this.discardAside(this.asideAt);
        this.asideAt = "";
      } else {
        const answer = await server.write(this.scan, "unsaved", this.#told(), model.keptMasks);
        this.asideAt = answer.saved;
        this.#tellKept(answer.kept);
      }
      this.aside = stamp;
      this.#trouble("aside", null);
    } catch (error) {
      this.#trouble("aside", error);
    } finally {
      release();
    }
  }

  /** Take masks that lay aside, as steps that can be undone. */
  takeAside(masks) {
    const { model } = this;
    masks.forEach((voxels, number) => {
      const runs = differenceRuns(model.masks.voxels[number], voxels);
      model.masks.flip(number, runs);
      model.record(number, runs, "unsaved work");
    });
    const { unsaved } = model.facts;
    for (const range of unsaved.looked_at ?? []) model.looked.add(String(range));
    this.seconds = Math.max(this.seconds, unsaved.seconds ?? 0);
    this.aside = model.stamp;
    this.asideAt = unsaved.saved;
    model.changed("masks", "work", "save");
  }

  /** Throw away the work that was kept aside at this time. */
  discardAside(kept) { return server.discard(this.scan, this.writer, kept); }

  #tellKept(folders) {
    const text = keptText(folders);
    if (text !== this.kept) this.warn("kept", text);
    this.kept = text;
  }
}

/** Where work lies that was never saved and that no page offers; "" for no folders. */
export function keptText(folders) {
  return folders.length ? `Work that was never saved lies in ${folders.join(" and ")}; the masks here are without it. Move it away once nobody needs it.` : "";
}

/** What differs from the prediction now, and in a second sentence how much had to be drawn. */
function summary(changes, classes) {
  const changed = classes.filter((one) => changes[one.name].changed_voxels).map((one) => [one.title, changes[one.name]]);
  if (!changed.length) return "No mask differs from the prediction.";
  const slices = ({ slices: count }) => `${count} slice${count === 1 ? "" : "s"}`;
  const short = changed.map(([title, { changed_ml: ml }]) => `${title} ${ml.toFixed(1)} ml`).join(", ");
  const long = changed.map(([title, one]) => `${title} ${Math.round(one.added_path_mm)} mm on ${slices(one)}`).join(", ");
  return `Changed against the prediction: ${short}. Outline drawn: ${long}.`;
}
