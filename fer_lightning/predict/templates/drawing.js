// What pages share: `data` has the names and colours of classes.
const MISSING = -1, UNSURE = -2, ANOTHER = -3;
const byId = id => document.getElementById(id);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = share => `${(100 * share).toFixed(0)} %`;
const labelName = label => ({ [MISSING]: data.missing, [UNSURE]: data.unsure, [ANOTHER]: data.another })[label] ?? data.names[label];
const colourOf = label => label >= 0 ? data.colours[label] : "#aaaaae";

function setUp(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return pen;
}

// A face's box with fields of [text, paper, ink] above it, or below it at the top of the picture.
function drawTagged(pen, width, height, [left, top, right, bottom], colour, fields) {
  pen.lineWidth = Math.max(2, width / 300); pen.strokeStyle = colour;
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.font = `600 ${Math.max(12, width / 48)}px system-ui, sans-serif`; pen.textBaseline = "middle";
  const size = Math.max(12, width / 48) * 1.7, widths = fields.map(([text]) => pen.measureText(text).width + 12);
  let tagLeft = Math.min(Math.max(left, 0), Math.max(0, width - widths.reduce((a, b) => a + b, 0)));
  const tagTop = top >= size ? top - size : Math.min(bottom, height - size);
  fields.forEach(([text, paper, ink], i) => {
    pen.fillStyle = paper; pen.fillRect(tagLeft, tagTop, widths[i], size);
    pen.fillStyle = ink; pen.fillText(text, tagLeft + 6, tagTop + size / 2);
    tagLeft += widths[i];
  });
}
