/** The mouse over the planes: draw, move the cursor, window, pan, zoom, change the slice. */
import { Stroke } from "./brush.js";
import { clamp, clipLine } from "./geometry.js";
import { runsOf } from "./masks.js";

const LEFT = 0, MIDDLE = 1, RIGHT = 2;
const NOTCH = 40; // pixels of a wheel, or of a touchpad's fingers, that are one slice

export class Pointer {
  /** `actions` are what keys do too, `size` and `dragWindow`, and `startDrawing`, which says whether one may. */
  constructor(canvas, { model, planes, overlay, actions }) {
    Object.assign(this, { canvas, model, planes, overlay, actions, drag: null, scrolled: 0 });
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(kind, () => this.finish());
    canvas.addEventListener("pointerleave", () => this.#point(null));
    canvas.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("mousedown", (event) => event.button === MIDDLE && event.preventDefault());
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.planes.density, (event.clientY - box.top) * this.planes.density];
  }

  #place(event, pane) { return this.#placeOf(pane, this.#at(event)); }

  #placeOf(pane, pixel) { return this.planes.placeOf(pane, ...pixel, this.model.cursor); }

  #point(pointer) {
    this.overlay.pointer = pointer;
    this.model.changed("pointer");
  }

  #press(event) {
    const pane = this.planes.paneAt(...this.#at(event));
    if (!pane || this.drag) return;
    const { model } = this;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    const [x, y] = this.#at(event);
    this.drag = { pane, x, y, kind: this.#kindOf(event), window: [...model.window] };
    if (this.drag.kind === "draw") this.drag.stroke = this.#stroke(pane.axis, event.shiftKey);
    this.#go(event);
  }

  #kindOf({ button, shiftKey, ctrlKey }) {
    if (button === RIGHT) return "window";
    if (button === MIDDLE || (button === LEFT && ctrlKey)) return "pan";
    if (this.model.isPainting) return this.actions.startDrawing() ? "draw" : "nothing";
    return shiftKey ? "pan" : "cursor";
  }

  #move(event) {
    if (this.drag) { this.#go(event); return; }
    const pane = this.planes.paneAt(...this.#at(event));
    this.#point(pane ? { pane, place: this.#place(event, pane) } : null);
  }

  #go(event) {
    const { drag, model, planes } = this;
    const [x, y] = this.#at(event);
    if (drag.kind === "draw") {
      for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) this.#draw(this.#at(one));
      model.changed("stroke");
    } else if (drag.kind === "cursor") {
      const { left, top, width, height } = drag.pane;
      model.moveTo(this.#placeOf(drag.pane, [clamp(x, left, left + width - 1), clamp(y, top, top + height - 1)]).map(Math.floor));
    } else if (drag.kind === "pan") {
      planes.panBy(drag.pane, x - drag.x, y - drag.y);
      [drag.x, drag.y] = [x, y];
      model.changed("view");
    } else if (drag.kind === "window") {
      this.actions.dragWindow(drag.window, (x - drag.x) / planes.density, (y - drag.y) / planes.density);
    }
    this.#point({ pane: drag.pane, place: this.#place(event, drag.pane) });
  }

  /** Draw on to a pixel, as far as the line there is in the pane: what lies beyond is not seen. */
  #draw(pixel) {
    const { pane, stroke, last } = this.drag;
    const line = clipLine(pane, last ?? pixel, pixel);
    if (line) stroke.draw(...line.map((end) => this.#placeOf(pane, end)));
    this.drag.last = pixel;
  }

  /** Draw once where the cursor is, in the plane of the slices. */
  dab() {
    const { model } = this;
    if (!this.actions.startDrawing()) return;
    this.drag = { stroke: this.#stroke(model.axis, false) };
    const place = model.cursor.map((index) => index + 0.5);
    this.drag.stroke.draw(place, place);
    this.finish();
  }

  #stroke(axis, other) {
    const { model } = this;
    const erase = (model.tool === "erase") !== other;
    return new Stroke(model.masks, model.active, {
      radius: model.diameter / 2, spacing: model.facts.spacing_mm, shape: model.shape, axis: model.ball ? null : axis, erase,
    });
  }

  /** End what is being dragged; a stroke becomes a step that can be undone. */
  finish() {
    const { drag, model } = this;
    this.drag = null;
    if (!drag?.stroke) return;
    const { number, settings, changed } = drag.stroke;
    model.record(number, runsOf(changed), settings.erase ? "eraser" : "brush", drag.pane?.axis);
  }

  #turn(event) {
    event.preventDefault();
    const pane = this.planes.paneAt(...this.#at(event));
    if (!pane || this.drag?.stroke) return;
    const amount = (event.deltaY || event.deltaX) * (event.deltaMode ? NOTCH : 1);
    if (event.ctrlKey) {
      this.planes.zoomBy(1.0015 ** -amount, this.#place(event, pane));
      this.model.changed("view");
      return;
    }
    this.scrolled = Math.sign(amount) === Math.sign(this.scrolled) ? this.scrolled + amount : amount;
    const notches = Math.trunc(this.scrolled / NOTCH);
    if (!notches) return;
    this.scrolled = Math.abs(amount) >= NOTCH ? 0 : this.scrolled - notches * NOTCH;
    if (event.shiftKey) this.actions.size(-Math.sign(notches));
    else this.model.step(Math.abs(amount) >= NOTCH ? -Math.sign(amount) : -notches, pane.axis);
    this.#point({ pane, place: this.#place(event, pane) });
  }
}
