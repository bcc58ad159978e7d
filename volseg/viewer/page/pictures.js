/** A scan as pictures of its slices, for browsers that have no WebGL2: to look at, not to edit. */
import { clamp } from "./geometry.js";
import { element } from "./panels.js";
import { pictureAddress } from "./server.js";

const byId = (id) => document.getElementById(id);
const WHY = "this browser has no WebGL2, which drawing and editing need. Use a browser with graphics acceleration (its settings may have it off), or this scan on another computer";

export function showPictures(facts, { tell, warn }) {
  let index = Math.floor(facts.shape[facts.slice_axis] / 2);
  let [masks, item] = [true, -1];
  const picture = element("img", { id: "picture", alt: "" });
  const slider = element("input", { type: "range", min: 0, max: facts.shape[facts.slice_axis] - 1, "aria-label": "Slice" });
  const told = element("output");
  document.body.classList.add("pictures");
  byId("panes").replaceChildren(picture); // its sides are written in it
  byId("toolbar").replaceChildren(element("label", { class: "wide" }, "Slice ", slider, told), element("button", { "aria-pressed": "true", id: "show-masks" }, "Masks ", element("kbd", {}, "h")));
  Object.assign(byId("state"), { textContent: "Read-only: no WebGL2" }).dataset.state = "readonly";
  warn("webgl", `Slices are shown as pictures, read-only: ${WHY}.`);
  byId("organs").replaceChildren(...facts.classes.map((one) => {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = one.colour;
    return element("li", {}, element("p", { class: "organ" }, swatch, element("span", { class: "name" }, one.title), element("small", {}, one.confidence === null ? "" : `Dice ${one.confidence.toFixed(2)}`)), ...one.flags.map((flag) => element("p", { class: "flag" }, flag)));
  }));
  const items = facts.work.map((one, number) => {
    const [low, high] = [...one.numbers].sort((a, b) => a - b);
    const go = element("button", {}, element("span", { class: "name" }, low === high ? `Slice ${low}` : `Slices ${low}–${high}`));
    go.addEventListener("click", () => open(number));
    return element("li", {}, go);
  });
  byId("work").replaceChildren(...items);
  byId("looked").textContent = `${items.length}`;

  function show(to) {
    index = clamp(to, 0, facts.shape[facts.slice_axis] - 1);
    slider.value = index;
    told.textContent = `slice ${facts.slice_numbers[index]}`;
    picture.src = pictureAddress(facts.name, index, masks);
    picture.alt = `${facts.name}, slice ${facts.slice_numbers[index]}`;
  }

  function open(number) {
    if (!items.length) { tell("Nothing on the list of slices to check."); return; }
    item = (number + items.length) % items.length;
    items.forEach((row, i) => row.toggleAttribute("data-current", i === item));
    show(Math.round((facts.work[item].first + facts.work[item].last) / 2));
  }

  function toggle() {
    masks = !masks;
    byId("show-masks").setAttribute("aria-pressed", masks);
    show(index);
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  byId("show-masks").addEventListener("click", toggle);
  byId("panes").addEventListener("wheel", (event) => { event.preventDefault(); show(index - Math.sign(event.deltaY)); }, { passive: false });
  picture.addEventListener("error", () => tell(`The picture of slice ${facts.slice_numbers[index]} did not come.`, true));
  const keys = { ArrowUp: () => show(index + 1), ArrowDown: () => show(index - 1), PageUp: () => show(index + 10), PageDown: () => show(index - 10), n: () => open(item + 1), N: () => open(item - 1), h: toggle };
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  if (items.length) open(0); else show(index);
  document.body.dataset.ready = "";
}
