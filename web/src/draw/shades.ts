/** A picture of shades on a canvas: thumbnails and tiles alike. */
import { ramp, type Palette } from "./colour";

const ramps = new Map<string, Uint32Array>();

function shadesOf(palette: Palette): Uint32Array {
  const key = `${palette.card}${palette.iris}${palette.hatch}`;
  let made = ramps.get(key);
  if (!made) {
    made = ramp(palette.card, palette.iris);
    made[0] = ramp(palette.card, palette.hatch, 0.55)[255]!;
    ramps.set(key, made);
  }
  return made;
}

/**
 * Paint shades as the server sends them: 0 is what nobody may see, 1 to 255 a weight's square root.
 */
export function paint(
  canvas: HTMLCanvasElement,
  shades: Uint8Array,
  rows: number,
  cols: number,
  palette: Palette,
): void {
  canvas.width = cols;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(cols, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = shadesOf(palette);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colours[shades[i]!]!;
  context.putImageData(image, 0, 0);
}
