/** Undo and redo: steps are kept as the voxels that they turned over. */

const DEPTH = 200, MOST_BYTES = 256 * 2 ** 20, FEWEST = 60;

export class History {
  constructor(masks) {
    this.masks = masks;
    this.clear();
  }

  clear() {
    this.steps = [];
    this.done = 0; // steps that count now; those behind can be redone
    this.first = this.last = this.last === undefined ? 0 : this.last + 1;
  }

  /** Note a step that was done: the class's number, its runs, what it was, and where it can be seen. */
  record(step) {
    this.steps.length = this.done;
    this.last += 1;
    this.steps.push({ ...step, mark: this.last });
    let bytes = this.steps.reduce((sum, one) => sum + one.runs.byteLength, 0);
    while (this.steps.length > DEPTH || (bytes > MOST_BYTES && this.steps.length > FEWEST)) {
      const dropped = this.steps.shift();
      bytes -= dropped.runs.byteLength;
      this.first = dropped.mark;
    }
    this.done = this.steps.length;
  }

  /** What tells this state of all masks from others. */
  get mark() { return this.done ? this.steps[this.done - 1].mark : this.first; }

  get canUndo() { return this.done > 0; }

  get canRedo() { return this.done < this.steps.length; }

  undo() { return this.canUndo ? this.#flip(this.steps[--this.done]) : null; }

  redo() { return this.canRedo ? this.#flip(this.steps[this.done++]) : null; }

  #flip(step) {
    this.masks.flip(step.number, step.runs);
    return step;
  }
}
