/** What is shown and edited of one scan. Whoever changes it says so by `changed`, and all are told once a frame. */
import { History } from "./history.js";
import { clamp } from "./geometry.js";

export class Model {
  constructor(facts, masks) {
    Object.assign(this, { facts, masks, history: new History(masks) });
    this.shape = facts.shape;
    this.axis = facts.slice_axis;
    this.cursor = facts.shape.map((size) => Math.floor(size / 2));
    this.active = 0;
    this.tool = "look"; // or brush, erase
    this.ball = false;
    this.diameter = 10; // mm
    this.window = [...facts.window];
    this.shown = { masks: true, fill: true, truth: false, earlier: false, predicted: false, image: false };
    this.hidden = new Set(); // numbers of classes
    this.layers = {}; // truth, earlier, predicted: voxels by class, once they are loaded
    this.item = -1; // the work item that is being looked at
    this.looked = new Set(facts.looked_at.map(String));
    this.savedLooked = this.#lookedKey();
    this.savedMark = this.history.mark;
    this.readOnly = "loading";
    this.busy = ""; // what is being computed; until it is there, nothing else may be edited
    this.preview = null; // a threshold that is shown in a mask, and not kept yet
    this.listeners = [];
    this.due = null;
  }

  /** Be told, once a frame, what has changed: a set of words such as cursor, masks, tool, shown, work, save. */
  listen(listener) { this.listeners.push(listener); }

  changed(...what) {
    if (this.due) { what.forEach((one) => this.due.add(one)); return; }
    this.due = new Set(what);
    requestAnimationFrame(() => this.tell());
  }

  tell() {
    const what = this.due ?? new Set();
    this.due = null;
    for (const listener of this.listeners) listener(what);
  }

  get classes() { return this.facts.classes; }

  /** Whether there are more classes than colours, so that their numbers tell them apart. */
  get isNumbered() { return new Set(this.classes.map((one) => one.colour)).size < this.classes.length; }

  get className() { return this.classes[this.active].name; }

  get slice() { return this.cursor[this.axis]; }

  /** The source's number of a slice, which the report and the files use. */
  number(index = this.slice) { return this.facts.slice_numbers[index]; }

  /** Why nothing can be edited now; "" if it can. */
  get whyNot() {
    if (this.readOnly === "loading") return "Still loading";
    if (this.readOnly) return `Read-only: ${this.readOnly}`;
    return this.busy && `${this.busy} is being computed`;
  }

  get canEdit() { return !this.readOnly && !this.busy; }

  /** What tells this state of the work from others: masks, and what was looked at. */
  get stamp() { return `${this.history.mark} ${this.#lookedKey()}`; }

  get isPainting() { return this.tool !== "look"; }

  get changedMasks() { return this.history.mark !== this.savedMark; }

  get unsaved() { return this.changedMasks || Boolean(this.preview?.runs.length) || this.#lookedKey() !== this.savedLooked; }

  /** The voxels of all masks without what is only previewed. */
  get keptMasks() { return this.masks.voxels.map((voxels, number) => (number === this.preview?.number ? this.preview.before : voxels)); }

  markSaved(mark, looked) {
    this.savedMark = mark;
    this.savedLooked = looked;
    this.changed("save");
  }

  /** What a save has to say of itself later. */
  get state() { return { mark: this.history.mark, looked: this.#lookedKey() }; }

  #lookedKey() { return [...this.looked].sort().join(" "); }

  get lookedRanges() { return [...this.looked].map((one) => one.split(",").map(Number)); }

  isLooked(item) { return this.looked.has(String(item.numbers)); }

  get lookedCount() { return this.facts.work.filter((item) => this.isLooked(item)).length; }

  moveTo(cursor) {
    this.cursor = cursor.map((at, axis) => clamp(Math.round(at), 0, this.shape[axis] - 1));
    this.changed("cursor");
  }

  /** Move across the plane of an axis by slices. */
  step(slices, axis = this.axis) {
    const cursor = [...this.cursor];
    cursor[axis] += slices;
    this.moveTo(cursor);
  }

  choose(number) {
    if (number < 0 || number >= this.classes.length) return;
    this.active = number;
    this.hidden.delete(number);
    this.changed("active", "masks", "shown");
  }

  use(tool) {
    this.tool = this.readOnly ? "look" : tool;
    this.changed("tool");
  }

  toggle(name) {
    this.shown[name] = !this.shown[name];
    this.changed("shown");
  }

  /** Note an edit that was done to the mask of a class, in the plane across an axis. */
  record(number, runs, text, axis = this.axis) {
    if (!runs.length) return;
    this.history.record({ number, runs, text, axis, cursor: [...this.cursor] });
    this.changed("masks", "save");
  }

  /** Show where a step that was undone or redone can be seen. */
  show(step) {
    if (step.number !== this.active) this.choose(step.number);
    if (step.cursor[step.axis] !== this.cursor[step.axis]) this.moveTo(step.cursor);
    this.changed("masks", "save");
  }

  volume(number) {
    const [x, y, z] = this.facts.spacing_mm;
    return (this.masks.counts[number] * x * y * z) / 1000;
  }
}
