/** The organs and the work list beside the planes. */
import { sliceText } from "./edits.js";

const LAYERS = [["masks", "Masks", "h"], ["outlines", "Outlines only", "o"], ["truth", "Truth", "t"], ["earlier", "Earlier day", "e"], ["predicted", "Prediction", "p"]];

/** An element with attributes and children; text is never read as HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const byId = (id) => document.getElementById(id);

export class Panels {
  constructor(model, commands) {
    Object.assign(this, { model, commands });
    this.organs = model.classes.map((one, number) => this.#organ(one, number));
    byId("organs").replaceChildren(...this.organs);
    const trusted = model.classes.some((one) => one.confidence !== null);
    byId("organs-told").textContent = trusted ? "expected Dice" : "";
    const there = LAYERS.filter(([kind]) => !["truth", "earlier"].includes(kind) || model.classes.some((one) => one[kind]));
    byId("layers").replaceChildren(...there.map(([command, text, key]) => element("button", { "data-command": command, "aria-pressed": "false" }, text, " ", element("kbd", {}, key))));
    if (model.facts.earlier_scan) byId("layers").querySelector("[data-command=earlier]")?.setAttribute("title", `The masks of ${model.facts.earlier_scan}`);
    this.items = model.facts.work.map((item, index) => this.#item(item, index));
    byId("work").replaceChildren(...(this.items.length ? this.items : [element("li", { class: "none" }, "No slices are flagged.")]));
  }

  #organ(one, number) {
    const { isNumbered } = this.model;
    const swatch = element("span", { class: isNumbered ? "swatch numbered" : "swatch" }, isNumbered ? String(number + 1) : "");
    swatch.style.background = one.colour;
    const choose = element("button", { class: "organ" }, swatch, element("span", { class: "name" }, one.title), element("span", { class: "mark", title: "Differs from the prediction in what is saved" }), element("small", { class: "ml" }), element("small", { class: "trust" }), element("kbd", {}, number < 9 && !isNumbered ? String(number + 1) : ""));
    choose.addEventListener("click", () => this.model.choose(number));
    const eye = element("button", { class: "eye", "aria-label": `Show ${one.title}`, title: `Show ${one.title}` });
    eye.addEventListener("click", () => {
      const { hidden } = this.model;
      if (!hidden.delete(number)) hidden.add(number);
      this.model.changed("shown");
    });
    const flags = one.flags.map((flag) => element("p", { class: "flag" }, flag));
    return element("li", {}, choose, eye, ...flags);
  }

  #item(item, index) {
    const { model } = this;
    const organ = model.classes.find((one) => one.name === item.class);
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = organ?.colour ?? "";
    const go = element("button", {}, element("span", { class: "tick", "aria-hidden": "true" }), element("span", { class: "name" }, capital(sliceText(model, item.first, item.last))), element("small", {}, organ?.title ?? "all organs"), swatch);
    go.addEventListener("click", () => this.commands.goTo(index));
    return element("li", {}, go);
  }

  refresh(what) {
    if (["masks", "active", "shown", "save"].some((one) => what.has(one))) this.#refreshOrgans();
    if (what.has("active")) this.organs[this.model.active].scrollIntoView({ block: "nearest" });
    if (["work", "save"].some((one) => what.has(one))) this.#refreshWork();
  }

  #refreshOrgans() {
    const { model } = this;
    this.organs.forEach((row, number) => {
      const one = model.classes[number];
      const [choose, eye] = row.children;
      choose.setAttribute("aria-pressed", number === model.active);
      choose.querySelector(".mark").textContent = one.corrected ? "✎" : "";
      choose.querySelector(".ml").textContent = `${model.volume(number).toFixed(0)} ml`;
      choose.querySelector(".trust").textContent = one.confidence === null ? "" : one.confidence.toFixed(2);
      choose.title = one.confidence === null ? one.title : `${one.title}. Expected Dice of the prediction: ${one.confidence.toFixed(2)}${one.calibrated ? "" : ", not calibrated"}`;
      eye.setAttribute("aria-pressed", !model.hidden.has(number));
    });
    for (const [kind, value] of [["masks", model.shown.masks], ["outlines", !model.shown.fill], ["truth", model.shown.truth], ["earlier", model.shown.earlier], ["predicted", model.shown.predicted]]) {
      document.querySelector(`#layers [data-command=${kind}]`)?.setAttribute("aria-pressed", value);
    }
  }

  #refreshWork() {
    const { model } = this;
    const all = model.facts.work.length;
    byId("looked").textContent = all ? `${model.lookedCount} of ${all} looked at` : "";
    byId("progress").max = all || 1;
    byId("progress").value = model.lookedCount;
    this.items.forEach((row, index) => {
      row.classList.toggle("looked", model.isLooked(model.facts.work[index]));
      row.toggleAttribute("data-current", index === model.item);
      row.firstChild.setAttribute("aria-current", index === model.item);
      if (index === model.item) row.scrollIntoView({ block: "nearest" });
    });
  }
}

function capital(text) { return text[0].toUpperCase() + text.slice(1); }
