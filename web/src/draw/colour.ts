/** Colours of numbers: the two that mean something, and viridis for what has only a size. */
import { rgb } from "d3-color";
import { interpolateRgb, interpolateRgbBasis } from "d3-interpolate";

export interface Palette {
  paper: string;
  card: string;
  ink: string;
  iris: string;
  gaze: string;
  hatch: string;
  line: string;
}

export function palette(element: Element): Palette {
  const style = getComputedStyle(element);
  const get = (name: string) => style.getPropertyValue(name).trim();
  return {
    paper: get("--paper"), card: get("--card"), ink: get("--ink"), iris: get("--iris"),
    gaze: get("--gaze-line"), hatch: get("--hatch"), line: get("--line"),
  };
}

/** 256 shades from the card to the colour, as one 32-bit number each (little-endian RGBA). */
export function ramp(from: string, to: string, strength = 1): Uint32Array {
  const between = interpolateRgb(from, to);
  return Uint32Array.from({ length: 256 }, (_, i) => packed(between((i / 255) * strength)));
}

function packed(colour: string): number {
  const { r, g, b } = rgb(colour);
  return ((255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0;
}

/** Viridis, from nine of its colours: readable without colour vision, and in grey. */
export const viridis = interpolateRgbBasis([
  "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#fde725",
]);
