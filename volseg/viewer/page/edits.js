/** Edits that are computed in Python: the page sends the mask of a class and gets it back. */
import * as server from "./server.js";
import { differenceRuns, runLength } from "./masks.js";

const REACH = 2; // slices on either side that a threshold takes at first

export class Edits {
  constructor(model, { tell }) {
    Object.assign(this, { model, tell });
  }

  get preview() { return this.model.preview; }

  /** Ask for an operation on the active class; `text` is what it is called when it is undone. */
  async run(operation, settings, text) {
    const { model } = this;
    const number = model.active;
    await this.apply();
    if (!this.#mayEdit()) return;
    this.#busy(text);
    try {
      const runs = await this.#compute(number, operation, settings, model.masks.voxels[number].slice());
      model.masks.flip(number, runs);
      model.record(number, runs, text);
      const ml = (runLength(runs) * model.facts.spacing_mm.reduce((a, b) => a * b)) / 1000;
      this.tell(runs.length ? `${text}: ${ml.toFixed(ml < 1 ? 2 : 1)} ml of ${model.classes[number].title} changed.` : `${text}: nothing to change in ${model.classes[number].title}.`);
    } catch (error) {
      this.tell(`${text}: ${error.message}`, true);
    } finally {
      this.#busy("");
    }
  }

  #busy(text) {
    this.model.busy = text;
    this.model.changed("save", "tool", "masks");
  }

  /** The runs by which an operation changes voxels, which nobody else may change meanwhile. */
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
    const { axis, slice, active } = model;
    await this.apply();
    const filled = model.masks.filledSlices(active, axis);
    const gaps = [-1, 1].map((side) => gapFrom(filled, slice, side)).filter(Boolean).sort((a, b) => a[1] - a[0] - (b[1] - b[0]));
    if (!gaps.length) {
      this.tell(`Fill between: no gap in ${model.classes[active].title} at this slice; draw on both sides of the gap, then stay in it or beside it.`);
      return;
    }
    const [first, last] = gaps[0];
    await this.run("fill-between", { axis, first, last }, `Fill between, ${sliceText(model, first, last)}`);
  }

  fillHoles() { return this.run("fill-holes", { axis: this.model.axis }, "Fill holes"); }

  removeSmall(ml) { return this.run("remove-small", { ml }, `Remove parts below ${ml} ml`); }

  keepLargest() { return this.run("keep-largest", {}, "Keep the largest part"); }

  /** Empty the active class on the current slice. */
  async clearSlice() {
    const { model } = this;
    const { axis, slice, active } = model;
    await this.apply();
    if (!this.#mayEdit()) return;
    const before = model.masks.voxels[active];
    const after = before.slice();
    const [stride, size] = [model.masks.strides[axis], model.shape[axis]];
    for (let i = 0; i < after.length; i += 1) if (Math.floor(i / stride) % size === slice) after[i] = 0;
    const runs = differenceRuns(before, after);
    model.masks.flip(active, runs);
    model.record(active, runs, "Clear slice");
    this.tell(`Cleared ${model.classes[active].title} on slice ${model.number(slice)}.`);
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
    const asked = { first, last, threshold: 0.5 };
    model.preview = { number: model.active, before: model.masks.voxels[model.active].slice(), runs: new Uint32Array(), asked, shown: null, pending: null };
    return asked;
  }

  /** Show what a threshold gives; the last one that was asked for is shown in the end. */
  previewThreshold(asked) {
    const { preview } = this;
    if (!preview) return;
    preview.asked = asked;
    preview.pending ??= this.#showAsked(preview);
  }

  /** Until it is over, nobody may edit: the answers are about the mask as it was before. */
  async #showAsked(preview) {
    this.#busy("Threshold");
    try {
      while (this.preview === preview && preview.shown !== preview.asked) {
        const { asked } = preview;
        const runs = await this.#compute(preview.number, "threshold", asked, preview.before);
        if (this.preview === preview) this.#show(preview, runs, asked);
      }
    } catch (error) {
      if (this.preview === preview) this.cancel();
      this.tell(`Threshold: ${error.message}`, true);
    }
    preview.pending = null;
    if (this.preview === preview) this.#busy("");
  }

  #show(preview, runs, asked) {
    this.model.masks.flip(preview.number, preview.runs);
    this.model.masks.flip(preview.number, runs);
    Object.assign(preview, { runs, shown: asked });
    this.model.changed("masks");
  }

  /** Keep what is previewed, as one step, once all that was asked for is shown. */
  async apply() {
    if (this.preview?.pending) await this.preview.pending;
    this.keepShown();
  }

  /** Keep what is previewed now, as one step. */
  keepShown() {
    const { preview, model } = this;
    if (!preview) return;
    model.preview = null;
    if (preview.shown) {
      const { threshold, first, last } = preview.shown;
      model.record(preview.number, preview.runs, `Threshold ${threshold.toFixed(2)}, ${sliceText(model, first, last)}`);
    }
    model.changed("threshold");
  }

  /** Drop what is previewed, and what is still to come. */
  cancel() {
    const { preview, model } = this;
    if (!preview) return;
    this.#show(preview, new Uint32Array(), null);
    model.preview = null;
    this.#busy("");
    model.changed("threshold");
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
