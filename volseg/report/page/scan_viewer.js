// The viewer: one scan is unpacked at a time, and its slices are decoded as they come near.
"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const part = (name) => viewer.querySelector(`[data-part="${name}"]`);
  const [name, canvas, lines, paths, profile, checks, slider, told, range, most, places, bar] = [
    "name", "grey", "lines", "paths", "profile", "checks", "slice", "told", "range", "most", "places", "bar",
  ].map(part);
  const context = canvas.getContext("2d");
  const choices = [...document.querySelectorAll('input[name="scan"]')];
  const packed = [...document.querySelectorAll("script[data-scan]")];
  const NEAR = 3; // slices that are decoded ahead
  const BARS = [50, 20, 10, 5, 2, 1]; // mm: the longest that is at most a third of a picture is drawn
  let scan, decoded;

  function choose({ value }) {
    const data = packed.find((one) => one.dataset.scan === value);
    const [figures, picture] = JSON.parse(data.textContent);
    [scan, decoded] = [picture, new Map()];
    name.textContent = value;
    viewer.querySelectorAll(".organs tbody tr").forEach((row, organ) =>
      row.querySelectorAll("td").forEach((cell, i) => (cell.textContent = figures[organ][i])));
    for (const side of ["truth", "difference"])
      viewer.querySelector(`input[data-side="${side}"]`).disabled = !judged();
    frame();
    strip();
    slider.max = scan.numbers.length - 1;
    const check = mark();
    slider.value = judged() || !check.length ? scan.first : middle(check[0]);
    show();
  }

  function mark() { // where to look first: below the profile, and as buttons, the most doubtful first
    const check = scan.check.map(places_of).filter(Boolean);
    checks.setAttribute("viewBox", profile.getAttribute("viewBox"));
    checks.firstChild.setAttribute("d", check.map(([a, b]) => `M${a} 0H${b + 1}V100H${a}z`).join(""));
    places.hidden = !check.length;
    places.replaceChildren("To check first: ", ...check.map(button));
    return check;
  }

  function places_of(ends) { // slices by their numbers, which may fall from head to feet
    const found = ends.map((number) => scan.numbers.indexOf(number)).sort((a, b) => a - b);
    return found[0] < 0 ? null : found;
  }

  function button(place) {
    const made = document.createElement("button");
    const ends = place.map((z) => scan.numbers[z]).sort((a, b) => a - b);
    made.type = "button";
    made.textContent = [...new Set(ends)].join("–");
    made.setAttribute("aria-label", `Show slice ${made.textContent}`);
    made.dataset.place = place.join(" ");
    made.addEventListener("click", () => jump(place));
    return made;
  }

  const middle = ([first, last]) => Math.round((first + last) / 2);

  function jump(place) {
    slider.value = middle(place);
    show();
  }

  const judged = () => "truth" in scan.lines;

  function frame() { // both layers are as wide and as high in mm, whatever the pixels' shape
    const [wide, high] = scan.mm;
    canvas.width = scan.width;
    canvas.height = Math.round((scan.width * high) / wide);
    lines.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    const length = BARS.find((mm) => mm <= wide / 3) ?? BARS.at(-1);
    lines.querySelector(".bar").setAttribute("d", `M${wide * 0.03} ${high * 0.96}h${length}`);
    bar.textContent = length < 10 ? `${length} mm` : `${length / 10} cm`;
    paths.setAttribute("transform", `scale(${scan.scale}) translate(.5 .5)`);
  }

  function strip() { // the middles of slices lie above the places of the slider's thumb
    const [length, [begin, end]] = [scan.numbers.length, scan.labelled];
    const beyond = `M0 0H${begin}V100H0zM${end + 1} 0H${length}V100H${end + 1}z`;
    profile.setAttribute("viewBox", `.5 0 ${Math.max(length - 1, 1)} 100`);
    profile.querySelector(".beyond").setAttribute("d", judged() ? beyond : "");
    profile.querySelectorAll("[data-organ]").forEach((path) =>
      path.setAttribute("d", scan.profile[path.dataset.organ]));
    most.textContent = judged()
      ? `Truth and prediction differ on up to ${scan.most_cm2} cm² of a slice with labels`
      : `Organs cover up to ${scan.most_cm2} cm² of a slice`;
    profile.setAttribute("aria-label", most.textContent);
    range.textContent = `${scan.numbers[0]} to ${scan.numbers.at(-1)} shown`;
  }

  function show() {
    const z = Number(slider.value);
    const beyond = judged() && (z < scan.labelled[0] || z > scan.labelled[1]);
    told.textContent = `Slice ${scan.numbers[z]}${beyond ? ", beyond the labels" : ""}`;
    slider.setAttribute("aria-valuetext", told.textContent);
    canvas.setAttribute("aria-label", `${name.textContent}, ${told.textContent}`);
    profile.querySelector(".cursor").setAttribute("d", `M${z + 0.5} 0V100`);
    for (const path of paths.children) path.setAttribute("d", outline(path, z));
    for (const { dataset, classList } of places.children) {
      const [first, last] = dataset.place.split(" ");
      classList.toggle("here", first <= z && z <= last);
    }
    draw(z);
  }

  function outline({ classList: [side], dataset: { organ } }, z) {
    const of = (one) => scan.lines[one]?.[organ][z] ?? "";
    if (side !== "difference") return of(side);
    return judged() ? of("truth") + of("prediction") : ""; // filled where an odd number of them is
  }

  async function draw(z) {
    const [of, image] = [scan, slice(z)];
    if (!image) return;
    await image.decode();
    if (scan !== of || Number(slider.value) !== z) return; // it has moved on meanwhile
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    for (let near = 1; near <= NEAR; near++) {
      slice(z + near);
      slice(z - near);
    }
  }

  function slice(z) {
    if (scan.images[z] && !decoded.has(z)) {
      const image = new Image();
      image.src = `data:image/webp;base64,${scan.images[z]}`;
      decoded.set(z, image);
    }
    return decoded.get(z);
  }

  function look(name, ends) { // from the table of where to look
    const choice = choices.find((one) => one.value === name);
    choice.checked = true;
    choose(choice);
    const place = places_of(ends);
    if (place) jump(place);
    viewer.scrollIntoView({ block: "nearest" });
    slider.focus({ preventScroll: true });
  }

  function toggle(box) {
    const { side, toggles } = box.dataset;
    const which = side ? `.${side}[data-organ]` : `[data-organ="${toggles}"]`;
    viewer.querySelectorAll(which).forEach((path) =>
      path.classList.toggle(side ? "without-side" : "without-organ", !box.checked));
  }

  choices.forEach((choice) => choice.addEventListener("change", () => choose(choice)));
  slider.addEventListener("input", show);
  for (const strip of [profile, checks])
    strip.addEventListener("click", (event) => {
      const { left, width } = strip.getBoundingClientRect();
      slider.value = Math.round(((event.clientX - left) / width) * slider.max);
      show();
    });
  document.querySelectorAll("button[data-look]").forEach(({ dataset }, i, all) =>
    all[i].addEventListener("click", () => look(dataset.look, dataset.ends.split(" ").map(Number))));
  viewer.querySelectorAll('input[type="checkbox"]').forEach((box) => {
    box.addEventListener("change", () => toggle(box));
    toggle(box); // a browser may remember what was off before a reload
  });
  const chosen = choices.find((choice) => choice.checked) ?? choices[0];
  chosen.checked = true;
  choose(chosen);
})();
