/** The view's state as the address holds it: a link or a reload shows the same. */

export type Lens = "look" | "steps" | "heads" | "map" | "compare" | "whatif" | "generate";
export const LENSES: { id: Lens; name: string }[] = [
  { id: "look", name: "Look" },
  { id: "steps", name: "Steps" },
  { id: "heads", name: "Heads" },
  { id: "map", name: "Map" },
  { id: "compare", name: "Compare" },
  { id: "whatif", name: "What if" },
  { id: "generate", name: "Generate" },
];

export interface Place {
  lens: Lens;
  model: string;
  text: string;
  target: string;
  kind: string;
  layer: number;
  head: number;
  /** What Look averages over. */
  scope: "head" | "layer" | "all";
  token: number;
  direction: "at" | "by";
  /** Share of the mass that is drawn, in per cent. */
  cover: number;
  hide: boolean;
  metric: string;
  find: string;
  /** Map: level and centre, as "scale,x,y". */
  at: string;
  /** Compare: the other model and text. */
  model2: string;
  text2: string;
  kind2: string;
  /** What if: ablated heads "3.1,4.2" and cut edges "3.1:10>2". */
  cuts: string;
  edit: string;
  stage: string;
  /** Generate: temperature, top-p, seed, how many. */
  temperature: number;
  top_p: number;
  seed: number;
  length: number;
}

export const START: Place = {
  lens: "look", model: "", text: "", target: "", kind: "", layer: -1, head: -1, scope: "head",
  token: -1, direction: "at", cover: 90, hide: false, metric: "label", find: "", at: "",
  model2: "", text2: "", kind2: "", cuts: "", edit: "", stage: "scores", temperature: 0.8,
  top_p: 0.95, seed: 1, length: 24,
};

const TEXT_LIMIT = 4000;

export function write(place: Place): string {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(place)) {
    if (value === START[key as keyof Place]) continue;
    if (typeof value === "string" && value.length > TEXT_LIMIT) continue;
    parts.set(key, typeof value === "boolean" ? "1" : String(value));
  }
  return `#${parts.toString()}`;
}

export function read(hash: string): Place {
  const place = { ...START };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!(key in START)) continue;
    const name = key as keyof Place;
    const before: unknown = START[name];
    let now: unknown = value;
    if (typeof before === "number") now = Number.isFinite(Number(value)) ? Number(value) : before;
    if (typeof before === "boolean") now = value === "1";
    Object.assign(place, { [name]: now });
  }
  if (!LENSES.some((one) => one.id === place.lens)) place.lens = "look";
  if (!["head", "layer", "all"].includes(place.scope)) place.scope = "head";
  if (!["at", "by"].includes(place.direction)) place.direction = "at";
  place.cover = Math.min(Math.max(place.cover, 10), 100);
  return place;
}
