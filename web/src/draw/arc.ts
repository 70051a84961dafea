/** A sightline: from the token that looks, up and over, down to the one that is looked at. */

export interface Point {
  x: number;
  y: number;
}

/** How high an arc between two tokens rises above them, in pixels. */
export function rise(from: Point, to: Point, room: number): number {
  return Math.min(room, 22 + Math.abs(to.x - from.x) * 0.24);
}

export function arc(from: Point, to: Point, room: number): string {
  const up = rise(from, to, room);
  return `M${n(from.x)} ${n(from.y)}C${n(from.x)} ${n(from.y - up)} ${n(to.x)} ${n(to.y - up)} ${n(to.x)} ${n(to.y)}`;
}

/** A sightline between lines of text: straight out of the one, softly into the other. */
export function descent(from: Point, to: Point): string {
  const lean = Math.max(Math.min(Math.abs(to.y - from.y) * 0.6, 90), 10) * Math.sign(to.y - from.y);
  return `M${n(from.x)} ${n(from.y)}C${n(from.x)} ${n(from.y + lean)} ${n(to.x)} ${n(to.y - lean)} ${n(to.x)} ${n(to.y)}`;
}

function n(value: number): string {
  return value.toFixed(1);
}
