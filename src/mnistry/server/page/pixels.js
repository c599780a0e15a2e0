/** Small pictures of a few hundred pixels: digits, what a layer makes of them, and evidence. */

/** The bytes that base64 spells. */
export const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Paints 0 to 255 as paper to ink: black on nothing, so that the style sheet has the paper. */
export function paint(canvas, values, width = 28, height = values.length / width) {
  fill(canvas, width, height, (at) => [0, 0, 0, values[at]]);
}

/** Empties a small picture. */
export const clear = (canvas) => canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);

/** Paints what speaks for an answer and against it, -1 to 1, over the ink of the digit. */
export function paintEvidence(canvas, values, ink) {
  const [speaksFor, against] = ["--for", "--against"].map(styled);
  fill(canvas, 28, 28, (at) => {
    const [red, green, blue] = values[at] > 0 ? speaksFor : against;
    const weight = Math.min(1, Math.abs(values[at])) ** 0.6; // so that a little is seen, too
    const grey = 0.28 * (ink[at] / 255) * (1 - weight); // the digit shows where nothing is said
    const whole = weight + grey;
    const mix = (part) => (whole ? (part * weight + 128 * grey) / whole : 0);
    return [mix(red), mix(green), mix(blue), 255 * whole];
  });
}

/** A colour of the style sheet: its red, green and blue. */
function styled(name) {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

/** Paints each pixel with the red, green, blue and opacity that `colour` gives for its place. */
export function fill(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let at = 0; at < width * height; at++) image.data.set(colour(at), 4 * at);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
