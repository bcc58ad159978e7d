/** Edits that are computed in Python: the page sends the mask of a class and gets it back. */
import * as server from "./server.js";
import { differenceRuns, runLength } from "./masks.js";

const REACH = 2; // slices on either side that a threshold takes at first

export class Edits {
  constructor(model, { tell }) {
    Object.assign(this, { model, tell, preview: null, wanted: null });
  }

  get #text() { return this.model.classes[this.model.active].title; }

  /** Ask for an operation on the active class; `text` is what it is called when it is undone. */
  async run(operation, settings, text) {
    const { model } = this;
    if (!this.#mayEdit()) return;
    this.apply();
    const number = model.active;
    model.busy = `${text} …`;
    model.changed("save");
    try {
      const runs = await this.#compute(number, operation, settings, model.masks.voxels[number]);
      model.masks.flip(number, runs);
      model.record(number, runs, text);
      const ml = (runLength(runs) * model.facts.spacing_mm.reduce((a, b) => a * b)) / 1000;
      this.tell(runs.length ? `${text}: ${ml.toFixed(ml < 1 ? 2 : 1)} ml of ${model.classes[number].title} changed.` : `${text}: nothing to change in ${model.classes[number].title}.`);
    } catch (error) {
      this.tell(`${text}: ${error.message}`, true);
    } finally {
      model.busy = "";
      model.changed("save", "tool", "masks");
    }
  }

  async #compute(number, operation, settings, voxels) {
    const { model } = this;
    const edited = await server.edit(model.facts.name, operation, { class: model.classes[number].name, ...settings }, voxels);
    return differenceRuns(voxels, edited);
  }

  #mayEdit() {
    if (this.model.readOnly) this.tell(`${this.model.whyNot}.`);
    return this.model.canEdit;
  }

  /** Fill the gap at the current slice, between the slices drawn on either side of it. */
  async fillBetween() {
    const { model } = this;
    const { axis, slice } = model;
    const filled = model.masks.filledSlices(model.active, axis);
    const gaps = [-1, 1].map((side) => gapFrom(filled, slice, side)).filter(Boolean).sort((a, b) => a[1] - a[0] - (b[1] - b[0]));
    if (!gaps.length) {
      this.tell(`Fill between: no gap in ${this.#text} at this slice; draw on both sides of the gap, then stay in it or beside it.`);
      return;
    }
    const [first, last] = gaps[0];
    await this.run("fill-between", { axis, first, last }, `Fill between, ${sliceText(model, first, last)}`);
  }

  fillHoles() { return this.run("fill-holes", { axis: this.model.axis }, "Fill holes"); }

  removeSmall(ml) { return this.run("remove-small", { ml }, `Remove parts below ${ml} ml`); }

  keepLargest() { return this.run("keep-largest", {}, "Keep the largest part"); }

  /** Empty the active class on the current slice. */
  clearSlice() {
    const { model } = this;
    if (!this.#mayEdit()) return;
    this.apply();
    const before = model.masks.voxels[model.active];
    const after = before.slice();
    const [stride, size] = [model.masks.strides[model.axis], model.shape[model.axis]];
    for (let i = 0; i < after.length; i += 1) if (Math.floor(i / stride) % size === model.slice) after[i] = 0;
    const runs = differenceRuns(before, after);
    model.masks.flip(model.active, runs);
    model.record(model.active, runs, "Clear slice");
    this.tell(`Cleared ${this.#text} on slice ${model.number()}.`);
  }

  /** Begin to set the threshold of a run of slices: that of the work item, else a few around. */
  startThreshold() {
    const { model } = this;
    if (!this.#mayEdit()) return null;
    const one = model.classes[model.active];
    if (!one.probability) {
      this.tell(`No probability map of ${one.title}: predict with --save-probabilities to set its threshold here.`);
      return null;
    }
    const item = model.facts.work[model.item];
    const within = item && item.first <= model.slice && model.slice <= item.last;
    const [first, last] = within ? [item.first, item.last] : [Math.max(0, model.slice - REACH), Math.min(model.shape[model.axis] - 1, model.slice + REACH)];
    this.preview = { number: model.active, before: model.masks.voxels[model.active].slice(), runs: new Uint32Array(), first, last, threshold: 0.5 };
    return this.preview;
  }

  /** Show what a threshold gives; only the last one that was wanted counts. */
  async previewThreshold(settings) {
    const { preview, model } = this;
    if (!preview) return;
    Object.assign(preview, settings);
    const waiting = this.wanted !== null;
    this.wanted = { threshold: preview.threshold, first: preview.first, last: preview.last };
    if (waiting) return;
    try {
      while (this.wanted && this.preview === preview) {
        const asked = this.wanted;
        const runs = await this.#compute(preview.number, "threshold", asked, preview.before);
        if (this.preview !== preview) break;
        this.#show(preview, runs);
        if (this.wanted === asked) this.wanted = null;
      }
    } catch (error) {
      this.tell(`Threshold: ${error.message}`, true);
    }
    this.wanted = null;
    model.changed("masks");
  }

  #show(preview, runs) {
    this.model.masks.flip(preview.number, preview.runs);
    this.model.masks.flip(preview.number, runs);
    preview.runs = runs;
    this.model.changed("masks");
  }

  /** Keep what is previewed, as one step. */
  apply() {
    const { preview, model } = this;
    this.preview = null;
    if (!preview) return;
    model.record(preview.number, preview.runs, `Threshold ${preview.threshold.toFixed(2)}, ${sliceText(model, preview.first, preview.last)}`);
    model.changed("threshold");
  }

  /** Drop what is previewed. */
  cancel() {
    if (this.preview) this.#show(this.preview, new Uint32Array());
    this.preview = null;
    this.model.changed("threshold");
  }
}

/** The run of empty slices at a slice or right beside it, if drawn slices bound it. */
function gapFrom(filled, slice, side) {
  let from = filled[slice] ? slice + side : slice;
  if (filled[from] !== 0) return null;
  let [first, last] = [from, from];
  while (first > 0 && !filled[first - 1]) first -= 1;
  while (last < filled.length - 1 && !filled[last + 1]) last += 1;
  return first > 0 && last < filled.length - 1 ? [first, last] : null;
}

export function sliceText(model, first, last) {
  const [low, high] = [model.number(first), model.number(last)].sort((a, b) => a - b);
  return low === high ? `slice ${low}` : `slices ${low}–${high}`;
}
