/** The page of one scan: loads it, and connects what is shown with what is done. */
import { Edits } from "./edits.js";
import { makeCommands } from "./commands.js";
import { listenToKeys } from "./keyboard.js";
import { Labels } from "./labels.js";
import { Masks } from "./masks.js";
import { Model } from "./model.js";
import { Overlay } from "./overlay.js";
import { Panels, element } from "./panels.js";
import { showPictures } from "./pictures.js";
import { Pointer } from "./pointer.js";
import { Ruler } from "./ruler.js";
import { readFacts, readFile } from "./server.js";
import { Session, keptText } from "./session.js";
import { ask, clock, showReadout, showState, showTime, tell, warn } from "./status.js";
import { Toolbar, windowPresets } from "./toolbar.js";
import { readVolume } from "./volume.js";

const byId = (id) => document.getElementById(id);
const scan = decodeURIComponent(window.location.pathname.replace(/\/$/, "").split("/").pop());

function hasWebGL2() {
  const gl = document.createElement("canvas").getContext("webgl2");
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return gl !== null;
}

async function start() {
  const viewing = hasWebGL2();
  const drawing = viewing ? import("./planes.js") : null;
  byId("scan").textContent = scan;
  const facts = await readFacts(scan);
  for (const [id, name] of [["previous", facts.previous_scan], ["next", facts.next_scan]]) {
    if (name) Object.assign(byId(id), { href: `../${encodeURIComponent(name)}/`, title: name });
  }
  warn("kept", keptText(facts.kept));
  if (!viewing) { showPictures(facts, { tell, warn }); return; }
  if (!facts.image) warn("image", `No image is shown, only masks: ${facts.image_reason || "none was found"}`);
  const { Planes } = await drawing;
  const planes = new Planes(byId("image"), { shape: facts.shape, spacing: facts.spacing_mm, main: facts.slice_axis });
  const [image, masks] = await Promise.all([loadImage(facts), loadMasks(facts, "mask"), planes.open()]);
  await planes.show(image, facts.window);
  connect(facts, masks, planes);
}

async function loadImage(facts) {
  const name = facts.image ? "image.nii" : `mask/${facts.classes[0].name}.nii`; // for its grid alone
  const image = readVolume(await readFile(facts.name, name), facts.shape);
  if (!facts.image) image.voxels.fill(0);
  return image;
}

function loadMasks(facts, kind) {
  return Promise.all(facts.classes.map(async (one) => readVolume(await readFile(facts.name, `${kind}/${one.name}.nii`), facts.shape)));
}

function connect(facts, volumes, planes) {
  const model = new Model(facts, new Masks(facts.shape, volumes.map((one) => one.voxels)));
  const overlay = new Overlay(byId("overlay"), model, planes);
  const session = new Session(model, { tell, warn, header: volumes[0].header });
  const edits = new Edits(model, { tell });
  const presets = windowPresets(facts.window, lowest(planes.image));
  const page = new Toolbar({ model, edits, presets, tell });
  const pointer = new Pointer(byId("overlay"), { model, planes, overlay });
  const commands = makeCommands({ model, planes, overlay, edits, session, pointer, presets, page, tell });
  pointer.actions = commands;
  page.connect(commands);
  listenToKeys({ model, planes, pointer, commands });
  const panels = new Panels(model, commands);
  const labels = new Labels(byId("labels"), model, planes);
  const ruler = new Ruler(byId("ruler"), model);

  const fit = () => {
    if (!planes.resize()) return;
    pointer.finish(); // its pixels are no longer where they were
    overlay.resize();
    model.changed("view");
  };
  model.listen((what) => {
    if (window.devicePixelRatio !== planes.density) fit(); // moved to another screen
    if (what.has("window")) planes.setWindow(model.window);
    if (what.has("cursor")) planes.moveTo(model.cursor);
    if (["window", "cursor", "view"].some((one) => what.has(one))) planes.draw();
    overlay.draw();
    if (what.has("view")) labels.layOut(); else labels.refresh();
    for (const part of [panels, ruler, page]) part.refresh(what);
    if (["save", "masks", "work"].some((one) => what.has(one))) showState(model, session);
    if (what.has("view") || what.has("save")) document.querySelector("[data-command=layout]").setAttribute("aria-pressed", planes.single !== null);
    showTime(session);
    showReadout(model, overlay, planes.image);
  });
  overlay.resize();
  new ResizeObserver(fit).observe(byId("panes"));
  byId("image").addEventListener("webglcontextlost", () => warn("context", "The browser has lost the graphics card. Save, then reload the page."));
  window.volseg = { model, planes, overlay, session, commands, edits }; // for people who look closer, and for tests
  open(model, { session, commands, page });
}

/** Show the first slices to check, and settle who writes and what lies aside. */
async function open(model, { session, commands }) {
  overlayReady(model);
  if (model.facts.work.length) commands.next();
  const { unsaved } = model.facts;
  await session.enter();
  byId("overlay").focus({ preventScroll: true });
  if (unsaved && !model.readOnly) await offerUnsaved(model, session);
  else if (unsaved) tell(`Unsaved work of ${clock(unsaved.saved)} lies aside.`);
  model.changed("save", "work", "masks", "tool");
}

function overlayReady(model) {
  byId("loading").remove();
  document.body.dataset.ready = "";
  model.changed("cursor", "view", "masks", "active", "shown", "work", "tool", "save", "time");
}

async function offerUnsaved(model, session) {
  const { unsaved } = model.facts;
  const others = model.facts.classes.filter((one) => unsaved.outdated?.includes(one.name)).map((one) => one.title);
  const since = others.length ? ` Another program or person has changed masks since: ${others.join(", ")}. To continue replaces that.` : "";
  const answer = await ask("Unsaved work was found", `It was kept aside at ${clock(unsaved.saved)}, when this scan was left without saving.${since}`, [["continue", "Continue with it"], ["discard", "Throw it away"], ["later", "Leave it for now"]]);
  try {
    if (answer === "discard") await session.discardAside(unsaved.saved);
    if (answer === "later") { session.leave(); model.readOnly = "unsaved work lies aside; reload to continue with it or to throw it away"; }
    if (answer !== "continue") return;
    const before = await loadMasks(model.facts, "unsaved");
    session.takeAside(before.map((one) => one.voxels));
    tell("The unsaved work is back; Ctrl+s saves it.");
  } catch (error) {
    warn("aside", `The unsaved work could not be read: ${error.message}`);
  }
}

function lowest({ voxels, slope, intercept }) {
  let low = Infinity;
  for (let i = 0; i < voxels.length; i += 97) if (voxels[i] < low) low = voxels[i];
  return low * slope + intercept;
}

start().catch((error) => {
  byId("loading").textContent = "";
  Object.assign(byId("state"), { textContent: "Not loaded" }).dataset.state = "error";
  const again = element("button", {}, "Try again");
  again.addEventListener("click", () => window.location.reload());
  warn("load", `${scan} could not be shown: ${error.message}`, again);
});
