/** All slices at once, from feet to head: where each organ is, what is to be checked, and where we are. */
import { clamp } from "./geometry.js";

const WORK = 8, GAP = 4, MOST = 5; // pixels of the column of the work list, between columns; columns of organs

export class Ruler {
  constructor(box, model) {
    Object.assign(this, { box, model, canvas: box.firstElementChild, filled: null, timer: 0 });
    box.setAttribute("aria-valuemin", 1);
    box.setAttribute("aria-valuemax", model.shape[model.axis]);
    box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); this.#go(event); });
    box.addEventListener("pointermove", (event) => { if (event.buttons) this.#go(event); });
    box.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 }[event.key];
      if (!steps || event.shiftKey) return;
      event.preventDefault();
      model.step(steps);
    });
    box.addEventListener("wheel", (event) => { event.preventDefault(); model.step(-Math.sign(event.deltaY)); }, { passive: false });
  }

  get #size() { return this.model.shape[this.model.axis]; }

  #go(event) {
    const box = this.canvas.getBoundingClientRect();
    const cursor = [...this.model.cursor];
    cursor[this.model.axis] = clamp(Math.floor((1 - (event.clientY - box.top) / box.height) * this.#size), 0, this.#size - 1);
    this.model.moveTo(cursor);
  }

  refresh(what) {
    if (["masks", "active"].some((one) => what.has(one))) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => { this.filled = null; this.draw(); }, this.filled ? 250 : 0);
    }
    if (["cursor", "work", "shown", "view"].some((one) => what.has(one))) this.draw();
  }

  #columns() {
    const { model } = this;
    const all = model.classes.map((_, number) => number);
    const numbers = all.length > MOST ? [model.active] : all;
    this.filled ??= numbers.map((number) => [number, model.masks.filledSlices(number, model.axis)]);
    return this.filled;
  }

  draw() {
    const { canvas, model, box } = this;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [Math.round(width * density), Math.round(height * density)];
    const context = canvas.getContext("2d");
    context.scale(density, density);
    const style = getComputedStyle(box);
    const row = height / this.#size;
    const top = (index) => height - (index + 1) * row;
    for (const item of model.facts.work) {
      context.fillStyle = style.getPropertyValue(model.isLooked(item) ? "--looked" : "--check");
      const tall = Math.max(3, (item.last - item.first + 1) * row);
      context.fillRect(2, top(item.last), WORK - 2, tall);
    }
    const columns = this.#columns();
    const wide = Math.min(8, (width - WORK - GAP - 4) / columns.length - 2);
    columns.forEach(([number, filled], place) => {
      context.fillStyle = model.classes[number].colour;
      context.globalAlpha = model.hidden.has(number) || !model.shown.masks ? 0.25 : number === model.active ? 1 : 0.6;
      for (let i = 0; i < filled.length; i += 1) if (filled[i]) context.fillRect(WORK + GAP + place * (wide + 2), top(i), wide, row + 0.5);
    });
    context.globalAlpha = 1;
    const line = top(model.slice) + row / 2;
    context.fillStyle = style.getPropertyValue("--ink");
    context.fillRect(0, line - 1, width, 2);
    box.setAttribute("aria-valuenow", model.slice + 1);
    box.setAttribute("aria-valuetext", `slice ${model.number()}`);
  }
}
