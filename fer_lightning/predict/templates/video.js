// `data` holds the rows of the timeline, the outline of the audio and, of each person, labels, probabilities and the
// boxes of the face; times are in seconds.
const media = byId("media"), slider = byId("time"), chart = byId("chart"), tip = byId("tip"), boxes = byId("boxes");
const BAND = 26, AREAS = 150, SOUND = data.sound ? 44 : 0, AXIS = 20, GAP = 4;
const HEIGHT = BAND + GAP + AREAS + (SOUND ? GAP + SOUND : 0) + AXIS;
const people = [data, ...data.others], several = people.length > 1;
const rows = data.start.length, shown = data.names.map(() => true);
let who = people[0], offset = data.offset, time = 0, zoom = 1, usable = false, drawBoxes = true, hover = null, picture = null;

const clamp = t => Math.min(Math.max(t, 0), data.duration);
const clock = t => {
  const tenths = Math.round(t * 10), seconds = Math.floor(tenths / 10) % 60, minutes = Math.floor(tenths / 600) % 60;
  const hours = Math.floor(tenths / 36000), two = value => String(value).padStart(2, "0");
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds)}.${tenths % 10}`;
};
// The last index whose value is at most t; -1 before the first.
function lastAt(values, t) {
  let low = 0, high = values.length;
  while (low < high) { const middle = (low + high) >> 1; if (values[middle] <= t) low = middle + 1; else high = middle; }
  return low - 1;
}
const rowAt = t => Math.max(0, lastAt(data.start, t + 1e-6));
const highest = (row, person = who) => person.shares[row] === null ? null : Math.max(...person.shares[row]);
const described = (row, person = who) => { const best = highest(row, person); return labelName(person.label[row]) + (best === null ? "" : ` ${percent(best)}`); };

// Stretches of one expression of the person who is shown.
function findStretches() {
  const found = [];
  for (let row = 0; row < rows; row++) {
    const last = found[found.length - 1];
    if (last && last.label === who.label[row]) { last.stop = row + 1; last.end = data.end[row]; }
    else found.push({ label: who.label[row], first: row, stop: row + 1, start: data.start[row], end: data.end[row] });
  }
  return found;
}
let stretches = findStretches();

// The view: all of the video, or a part around the present moment.
function view() {
  const length = data.duration / zoom, start = Math.min(Math.max(time - length / 2, 0), data.duration - length);
  return [start, start + length];
}
const timeAt = x => { const [start, end] = view(); return clamp(start + (end - start) * x / Math.max(1, chart.clientWidth)); };

// Draws band, areas, audio and axis for a view into a picture; the moving lines are drawn over it.
function drawPicture(width) {
  const canvas = document.createElement("canvas"), pen = setUp(canvas, width, HEIGHT), [from, to] = view();
  const blank = css("--blank"), ink = css("--ink"), soft = css("--soft"), perPixel = (to - from) / width;
  for (let x = 0; x < width; x++) {
    const first = rowAt(from + x * perPixel), last = Math.max(first, rowAt(Math.min(to, from + (x + 1) * perPixel) - 1e-9));
    const label = who.label[rowAt(from + (x + 0.5) * perPixel)];
    pen.fillStyle = label >= 0 ? data.colours[label] : blank;
    pen.fillRect(x, 0, 1, BAND);
    const sums = data.names.map(() => 0);
    let count = 0, unsure = 0;
    for (let row = first; row <= last; row++) if (who.shares[row] !== null) {
      count += 1; unsure += who.label[row] === UNSURE;
      who.shares[row].forEach((share, i) => { sums[i] += share; });
    }
    pen.fillStyle = blank;
    pen.fillRect(x, BAND + GAP, 1, AREAS);
    pen.globalAlpha = count && unsure > count / 2 ? 0.4 : 1;
    let bottom = BAND + GAP + AREAS;
    if (count) sums.forEach((sum, i) => {
      if (!shown[i]) return;
      const height = AREAS * sum / count;
      pen.fillStyle = data.colours[i];
      pen.fillRect(x, bottom - height, 1, height);
      bottom -= height;
    });
    pen.globalAlpha = 1;
    if (SOUND) drawSound(pen, x, from + x * perPixel, from + (x + 1) * perPixel, soft, blank);
  }
  pen.font = "13px system-ui, sans-serif"; pen.textBaseline = "middle"; pen.textAlign = "center";
  for (const part of stretches) {
    const left = Math.max(0, (part.start - from) / perPixel), right = Math.min(width, (part.end - from) / perPixel);
    const name = labelName(part.label);
    if (right - left < pen.measureText(name).width + 8) continue;
    pen.fillStyle = part.label >= 0 ? data.inks[part.label] : soft;
    pen.fillText(name, (left + right) / 2, BAND / 2);
  }
  drawAxis(pen, width, from, to, ink);
  return canvas;
}

function drawSound(pen, x, start, end, colour, blank) {
  const top = BAND + GAP + AREAS + GAP, middle = top + SOUND / 2, count = data.sound.length;
  const first = Math.min(count - 1, Math.floor(start / data.duration * count));
  const last = Math.min(count - 1, Math.max(first, Math.ceil(end / data.duration * count) - 1));
  let low = null, high = null;
  for (let i = first; i <= last; i++) if (data.sound[i]) {
    low = Math.min(low ?? 1e9, data.sound[i][0]); high = Math.max(high ?? -1e9, data.sound[i][1]);
  }
  pen.fillStyle = low === null ? blank : colour;
  if (low === null) pen.fillRect(x, top, 1, SOUND);
  else pen.fillRect(x, middle - high / 100 * SOUND / 2, 1, Math.max(1, (high - low) / 100 * SOUND / 2));
}

function drawAxis(pen, width, from, to, ink) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const step = steps.find(each => (to - from) / each <= width / 70) || 14400;
  pen.fillStyle = ink; pen.textBaseline = "bottom"; pen.font = "12px system-ui, sans-serif";
  for (let t = Math.ceil(from / step) * step; t <= to + 1e-9; t += step) {
    const x = (t - from) / (to - from) * width;
    pen.textAlign = x < 20 ? "left" : x > width - 20 ? "right" : "center";
    pen.fillText(step < 1 ? clock(t) : clock(t).slice(0, -2), x, HEIGHT);
  }
}

function drawChart() {
  const width = slider.clientWidth, pen = setUp(chart, width, HEIGHT), [from, to] = view();
  chart.style.height = `${HEIGHT}px`;
  const key = [width, zoom, zoom > 1 ? from : 0].join();
  if (!picture || picture.key !== key) picture = { key, canvas: drawPicture(width) };
  pen.drawImage(picture.canvas, 0, 0, width, HEIGHT);
  const line = (t, colour, thick) => { pen.fillStyle = colour; pen.fillRect((t - from) / (to - from) * width - thick / 2, 0, thick, HEIGHT - AXIS); };
  if (hover !== null) line(hover, css("--soft"), 1);
  line(time, css("--paper"), 5);
  line(time, css("--ink"), 2);
}

// Each face has its expression; of several people, each has a number in a colour of its own, too.
function drawBox() {
  if (!boxes) return;
  const width = boxes.clientWidth, height = boxes.clientHeight, pen = setUp(boxes, width, height);
  if (usable && drawBoxes) for (const person of people) drawFace(pen, width, height, person);
}
function drawFace(pen, width, height, person) {
  const { track } = person, found = lastAt(track.time, time + track.tolerance);
  if (found < 0 || time - track.time[found] > track.gap) return;
  const row = rowAt(time), label = person.label[row], colour = colourOf(label);
  const [x, y] = [width / data.size[0], height / data.size[1]];
  const box = track.box.slice(4 * found, 4 * found + 4).map((edge, i) => edge * (i % 2 ? y : x));
  const fields = several ? [[String(person.person), person.colour, "#111"]] : [];
  if (person.shares[row] !== null) fields.push([described(row, person), colour, label >= 0 ? data.inks[label] : "#111"]);
  drawTagged(pen, width, height, box, several ? person.colour : colour, fields);
}

// The present moment beside the video; a click on a class hides it in the areas.
const bars = data.names.map((name, i) => {
  const item = document.createElement("li"), button = document.createElement("button");
  const text = document.createElement("span"), bar = document.createElement("span"), fill = document.createElement("i");
  const value = document.createElement("span");
  button.type = "button"; button.setAttribute("aria-pressed", "true"); button.title = "show or hide in the timeline";
  text.textContent = name; bar.className = "bar"; fill.style.background = data.colours[i];
  button.addEventListener("click", () => { shown[i] = !shown[i]; button.setAttribute("aria-pressed", shown[i]); redraw(); });
  bar.append(fill); button.append(text, bar, value); item.append(button); byId("bars").append(item);
  return { fill, value };
});
function tell() {
  const row = rowAt(time), shares = who.shares[row];
  byId("clock").textContent = `${clock(time)} of ${clock(data.duration)}`;
  byId("current").textContent = (several ? `${who.person}: ` : "") + described(row);
  bars.forEach(({ fill, value }, i) => {
    fill.style.width = shares ? `${100 * shares[i]}%` : "0";
    value.textContent = shares ? percent(shares[i]) : "–";
  });
  slider.setAttribute("aria-valuenow", time.toFixed(2));
  slider.setAttribute("aria-valuetext", `${clock(time)}, ${described(row)}`);
}
function update() { tell(); drawChart(); drawBox(); }
function redraw() { picture = null; update(); }

function seek(t) {
  time = clamp(t);
  if (usable) media.currentTime = time + offset;
  update();
}
const toggle = () => { if (usable) { if (media.paused) media.play(); else media.pause(); } };
function change(direction) {
  const next = direction > 0 ? stretches.find(part => part.start > time + 1e-6) : [...stretches].reverse().find(part => part.start < time - 0.3);
  if (next) seek(next.start); else if (direction < 0) seek(0);
}
function setZoom(share) {
  const most = Math.max(1, data.duration / (8 * data.hop));
  byId("zoom").value = Math.min(1, Math.max(0, share));
  zoom = most ** byId("zoom").value;
  redraw();
}

// The media element is the clock while it plays.
if (media) {
  const follow = seconds => { if (usable) { time = clamp(seconds - offset); update(); } };
  const unusable = () => {
    usable = false;
    if (data.fallback && drawBoxes) { // that video has the boxes drawn in, and begins with its first picture
      drawBoxes = false; offset = 0; media.src = data.fallback;
    } else byId("missing").hidden = false;
  };
  media.addEventListener("error", unusable);
  const ready = () => {
    if (media.tagName === "VIDEO" && !media.videoWidth) { unusable(); return; } // only its audio can be decoded
    usable = true; byId("missing").hidden = true;
    if (time) media.currentTime = time + offset;
    update();
  };
  media.addEventListener("loadedmetadata", ready);
  if (media.error) unusable(); else if (media.readyState > 0) ready();
  for (const name of ["timeupdate", "seeked"]) media.addEventListener(name, () => follow(media.currentTime));
  for (const name of ["play", "pause"]) media.addEventListener(name, () => { byId("play").textContent = media.paused ? "Play" : "Pause"; });
  if (media.requestVideoFrameCallback) {
    const onFrame = (_, frame) => { if (!media.paused) follow(frame.mediaTime); media.requestVideoFrameCallback(onFrame); };
    media.requestVideoFrameCallback(onFrame);
  }
  byId("pick").addEventListener("change", event => {
    const file = event.target.files[0];
    if (file) { drawBoxes = true; offset = data.offset; media.src = URL.createObjectURL(file); }
  });
} else byId("play").disabled = true;

// Pointer and keyboard on the timeline.
const position = event => timeAt(event.clientX - slider.getBoundingClientRect().left);
slider.addEventListener("pointerdown", event => { seek(position(event)); slider.setPointerCapture(event.pointerId); });
slider.addEventListener("pointermove", event => {
  hover = position(event);
  if (event.buttons & 1 && zoom === 1) seek(hover); // zoomed, the view would run away under the pointer
  const row = rowAt(hover), lines = [`${clock(hover)}  ${described(row)}`];
  if (who.shares[row] !== null) who.shares[row].map((share, i) => [share, data.names[i]]).sort((a, b) => b[0] - a[0])
    .forEach(([share, name]) => lines.push(`${percent(share).padStart(6)}  ${name}`));
  if (data.cut.includes(row)) lines.push("a shot changes within the window");
  tip.textContent = lines.join("\n");
  tip.hidden = false;
  const x = event.clientX - slider.getBoundingClientRect().left;
  tip.style.left = `${Math.max(0, x + tip.offsetWidth + 16 > slider.clientWidth ? x - tip.offsetWidth - 12 : x + 12)}px`;
  drawChart();
});
slider.addEventListener("pointerleave", () => { hover = null; tip.hidden = true; drawChart(); });
slider.addEventListener("keydown", event => {
  const move = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
  const act = {
    Home: () => seek(0), End: () => seek(data.duration), " ": toggle, n: () => change(1), p: () => change(-1),
    "+": () => setZoom(+byId("zoom").value + 0.1), "-": () => setZoom(+byId("zoom").value - 0.1),
  }[event.key];
  const person = several ? people[event.key - 1] : undefined;
  if (event.ctrlKey || event.metaKey || event.altKey || !(move || act || person)) return;
  event.preventDefault();
  if (move) seek(time + move * data.hop); else if (act) act(); else show(person);
});
byId("play").addEventListener("click", toggle);
byId("back").addEventListener("click", () => change(-1));
byId("on").addEventListener("click", () => change(1));
byId("zoom").addEventListener("input", event => setZoom(+event.target.value));

// The table of stretches, made when it is opened.
const table = byId("stretches");
function listStretches() {
  if (table.tBodies[0].rows.length || !table.closest("details").open) return;
  const swatch = label => { const mark = document.createElement("span"); mark.className = "swatch"; if (label >= 0) mark.style.background = data.colours[label]; return mark; };
  for (const part of stretches) {
    const line = table.tBodies[0].insertRow(), button = document.createElement("button");
    button.type = "button"; button.textContent = clock(part.start);
    button.addEventListener("click", () => { seek(part.start); slider.scrollIntoView({ block: "center" }); });
    line.insertCell().append(button);
    line.insertCell().textContent = clock(part.end);
    line.insertCell().append(swatch(part.label), labelName(part.label));
    const sum = who.shares[part.first] === null ? 0 : Array.from({ length: part.stop - part.first }, (_, i) => highest(part.first + i)).reduce((a, b) => a + b, 0);
    const cell = line.insertCell();
    cell.className = "number"; cell.textContent = who.shares[part.first] === null ? "" : percent(sum / (part.stop - part.first));
  }
}
table.closest("details").addEventListener("toggle", listStretches);

// People are switched by buttons and digits; an address may name one, such as #person=2.
const buttons = !several ? [] : people.map(person => {
  const button = document.createElement("button"), mark = document.createElement("span");
  button.type = "button"; mark.className = "swatch"; mark.style.background = person.colour; mark.style.border = "1px solid var(--line)";
  button.append(mark, `Person ${person.person}`);
  button.addEventListener("click", () => show(person));
  byId("people").append(button);
  return button;
});
function show(person) {
  who = person; stretches = findStretches();
  buttons.forEach((button, i) => button.setAttribute("aria-pressed", people[i] === who));
  table.tBodies[0].replaceChildren(); listStretches();
  redraw();
}
if (several) show(people.find(person => location.hash === `#person=${person.person}`) || people[0]);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(redraw).observe(slider);
if (location.hash.startsWith("#t=")) seek(parseFloat(location.hash.slice(3)) || 0); else update();
