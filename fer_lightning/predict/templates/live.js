// `data.camera` is the number of the camera; null where the server reads a file or a stream, and sends its pictures.
const media = byId("media"), boxes = byId("boxes"), chart = byId("chart"), record = byId("record"), screenArea = byId("screen");
const MINUTE = 60, BAND = 26, AREAS = 150, AXIS = 20, GAP = 4, WIDTH = 640, AT_ONCE = 2, QUALITY = 0.85, SPEED = 3;
const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
const grabbed = document.createElement("canvas");
let sent = [], moments = [], delays = [], shown = null, picture = null;
const seconds = () => performance.now() / 1000;
const tell = (id, text) => { byId(id).textContent = text; };
function complain(text) { tell("problem", text); byId("problem").hidden = !text; }

// The camera: a picture is taken as soon as fewer than two are on their way, so that none waits for long.
async function openCamera() {
  if (!navigator.mediaDevices) throw new Error("This browser gives no camera to pages.");
  const open = video => navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH }, frameRate: { ideal: 30 }, ...video } });
  let stream = await open({});
  if (data.camera > 0) {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(each => each.kind === "videoinput");
    stream.getTracks().forEach(track => track.stop());
    if (!cameras[data.camera]) throw new Error(`There is no camera ${data.camera}: this browser has ${cameras.length}, counted from 0.`);
    stream = await open({ deviceId: { exact: cameras[data.camera].deviceId } });
  }
  stream.getVideoTracks()[0].addEventListener("ended", () => complain("The camera was unplugged or taken away."));
  media.srcObject = stream;
  await media.play();
  onNextFrame();
}
const onNextFrame = () => media.requestVideoFrameCallback ? media.requestVideoFrameCallback(send) : requestAnimationFrame(send);
function send() {
  if (socket.readyState === WebSocket.OPEN && sent.length < AT_ONCE && media.videoWidth) {
    const time = seconds(), scale = Math.min(1, WIDTH / Math.max(media.videoWidth, media.videoHeight));
    sent.push(time);
    grabbed.width = Math.round(media.videoWidth * scale); grabbed.height = Math.round(media.videoHeight * scale);
    grabbed.getContext("2d").drawImage(media, 0, 0, grabbed.width, grabbed.height);
    grabbed.toBlob(async blob => {
      const jpeg = new Uint8Array(await blob.arrayBuffer()), message = new Uint8Array(8 + jpeg.length);
      new DataView(message.buffer).setFloat64(0, time, true);
      message.set(jpeg, 8);
      socket.send(message);
    }, "image/jpeg", QUALITY);
  }
  onNextFrame();
}
function noCamera(error) {
  const reasons = { NotAllowedError: "The browser was not allowed to use the camera: allow it beside the address, then load the page again.",
    NotFoundError: "There is no camera.", NotReadableError: "Another program uses the camera: close it, then load the page again." };
  complain(`${reasons[error.name] || error.message} A video or a stream is read with \`fer live --input\`.`);
}

// What the server sends: pictures of a file, moments, and states of the recording.
socket.binaryType = "arraybuffer";
socket.addEventListener("open", () => { record.disabled = false; if (media) openCamera().catch(noCamera); });
socket.addEventListener("close", () => { record.disabled = true; complain("`fer live` has ended: start it again, and open the address that it prints."); });
socket.addEventListener("message", async event => {
  if (typeof event.data !== "string") { picture = createImageBitmap(new Blob([new Uint8Array(event.data, 8)], { type: "image/jpeg" })); return; }
  const message = JSON.parse(event.data);
  if (message.moment) onMoment(message.moment, await picture); else onState(message);
});
function onMoment(moment, bitmap) {
  sent = sent.filter(time => time > moment.time);
  moment.at = seconds();
  moments.push(moment);
  while (moments[0].at < moment.at - MINUTE) moments.shift();
  if (media) delays = [...delays.filter(([at]) => at > moment.at - SPEED), [moment.at, moment.at - moment.time]];
  shown = moment;
  draw(bitmap);
}
function onState(message) {
  const pressed = message.state === "recording" || Boolean(message.recording), link = document.createElement("a");
  if (["recording", "writing", "failed"].includes(message.state)) {
    record.setAttribute("aria-pressed", pressed);
    record.textContent = pressed ? "Stop recording" : "Record";
  }
  if (message.state === "failed") complain(message.reason);
  if (message.time !== undefined) { sent = sent.filter(time => time > message.time); return; } // a picture was not answered
  const texts = { recording: "recording", writing: `${message.video} is there; its expressions are being recognised`, ended: "the video has ended", written: "" };
  tell("state", texts[message.state] ?? "");
  if (message.state === "written") {
    link.href = `recordings/${message.page.split("/").map(encodeURIComponent).join("/")}`; link.target = "_blank";
    link.textContent = "Look at what was recorded";
    byId("state").append(link, ` or into ${message.folder}: ${message.files.join(", ")}`);
  }
}
record.addEventListener("click", () => {
  complain("");
  socket.send(JSON.stringify({ record: record.getAttribute("aria-pressed") !== "true" }));
});

// The picture with boxes, the present moment, and the last minute.
const bars = data.names.map((name, i) => {
  const item = document.createElement("li"), [text, bar, value] = ["span", "span", "span"].map(kind => document.createElement(kind));
  const fill = document.createElement("i");
  text.textContent = name; bar.className = "bar"; fill.style.background = data.colours[i]; fill.style.width = "0";
  bar.append(fill); item.append(text, bar, value); byId("bars").append(item);
  return { fill, value };
});
const highest = moment => moment.shares ? ` ${percent(Math.max(...moment.shares))}` : "";
const described = moment => labelName(moment.label) + highest(moment);
function draw(bitmap) {
  const [width, height] = shown.size, frames = moments.filter(each => each.at > shown.at - SPEED).length;
  screenArea.style.setProperty("--ratio", `${width} / ${height}`);
  const pen = setUp(boxes, boxes.clientWidth, boxes.clientHeight);
  if (bitmap) pen.drawImage(bitmap, 0, 0, boxes.clientWidth, boxes.clientHeight);
  drawFaces(pen, boxes.clientWidth, boxes.clientHeight);
  const rate = (frames - 1) / Math.max(1e-3, shown.at - Math.max(shown.at - SPEED, moments[0].at));
  const delay = delays.map(each => each[1]).sort((a, b) => a - b)[delays.length >> 1];
  if (frames > 1) tell("speed", `${rate.toFixed(rate < 3 ? 1 : 0)} pictures a second` + (delay === undefined ? "" : `, ${(1000 * delay).toFixed(0)} ms behind`));
  tell("current", (data.people && shown.person ? `${shown.person}: ` : "") + described(shown));
  bars.forEach(({ fill, value }, i) => {
    fill.style.width = shown.shares ? `${100 * shown.shares[i]}%` : "0";
    value.textContent = shown.shares ? percent(shown.shares[i]) : "–";
  });
  drawMinute();
}
function drawFaces(pen, width, height) {
  const [x, y] = [width / shown.size[0], height / shown.size[1]], scaled = box => box.map((edge, i) => edge * (i % 2 ? y : x));
  for (const face of [...shown.others, shown]) if (face.box) {
    const colour = colourOf(face.label ?? MISSING), edge = data.people && face.person ? data.people[(face.person - 1) % data.people.length] : colour;
    const fields = data.people && face.person ? [[String(face.person), edge, "#111"]] : [];
    if (face.shares) fields.push([described(face), colour, face.label >= 0 ? data.inks[face.label] : "#111"]);
    drawTagged(pen, width, height, scaled(face.box), edge, fields);
  }
}
function drawMinute() {
  const width = chart.clientWidth, height = BAND + GAP + AREAS + AXIS, pen = setUp(chart, width, height), blank = css("--blank");
  chart.style.height = `${height}px`;
  pen.fillStyle = blank;
  pen.fillRect(0, 0, width, BAND); pen.fillRect(0, BAND + GAP, width, AREAS);
  const place = at => width * (1 - (shown.at - at) / MINUTE);
  moments.forEach((moment, i) => {
    const left = place(moment.at), until = place(Math.min(moments[i + 1]?.at ?? shown.at, moment.at + 1));
    pen.fillStyle = moment.label >= 0 ? data.colours[moment.label] : blank;
    pen.fillRect(left, 0, until - left + 0.5, BAND);
    let bottom = BAND + GAP + AREAS;
    pen.globalAlpha = moment.label === UNSURE ? 0.4 : 1;
    (moment.shares || []).forEach((share, k) => {
      pen.fillStyle = data.colours[k];
      pen.fillRect(left, bottom - AREAS * share, until - left + 0.5, AREAS * share);
      bottom -= AREAS * share;
    });
    pen.globalAlpha = 1;
  });
  pen.fillStyle = css("--ink"); pen.font = "12px system-ui, sans-serif"; pen.textBaseline = "bottom";
  for (let ago = 0; ago <= MINUTE; ago += 10) {
    pen.textAlign = ago === MINUTE ? "left" : ago ? "center" : "right";
    pen.fillText(ago ? `−${ago} s` : "now", width * (1 - ago / MINUTE), height);
  }
}
