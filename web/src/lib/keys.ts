/** The keyboard: one key a thought, the same in every lens. */
import { LENSES } from "./hash";
import type { Store } from "./store.svelte";

export const KEYS: [string, string][] = [
  ["← →", "the token before, the next one"],
  ["↑ ↓", "the head before, the next one"],
  ["[ ]", "the layer before, the next one"],
  ["1 … 7", "lenses: Look, Steps, Heads, Map, Compare, What if, Generate"],
  ["d", "looks at, or is looked at by"],
  ["a", "one head, its layer, all layers"],
  ["s", "with the first token, or without"],
  ["/", "write another text"],
  ["Enter", "pin the token, open the head"],
  ["Esc", "back to what is pinned"],
  ["?", "this sheet"],
];

const SCOPES = ["head", "layer", "all"] as const;

export function keys(event: KeyboardEvent, store: Store, root: HTMLElement): void {
  const target = event.target as HTMLElement;
  if (event.key === "Escape") {
    if (store.hover !== null) store.hover = null;
    else if (target.matches("input, textarea, select")) target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !store.reading) return;
  if (root.querySelector("dialog[open]")) return; // store.help lags: "close" comes a task after closing
  if (target.matches("input, textarea, select")) return;
  if (event.key.startsWith("Arrow") && target.closest("[data-own-keys]")) return;
  const act = action(event.key, store, root, target);
  if (!act) return;
  event.preventDefault();
  act();
}

function action(key: string, store: Store, root: HTMLElement, target: HTMLElement) {
  const { place } = store;
  const lens = LENSES[Number(key) - 1];
  if (lens) return () => store.go({ lens: lens.id });
  switch (key) {
    case "ArrowLeft":
    case "ArrowRight":
      return () => move(store, key === "ArrowLeft" ? -1 : 1, root, target);
    case "ArrowUp":
      return () => turn(store, -1);
    case "ArrowDown":
      return () => turn(store, 1);
    case "[":
      return () => climb(store, -1);
    case "]":
      return () => climb(store, 1);
    case "d":
      return () => store.go({ direction: place.direction === "at" ? "by" : "at" });
    case "a":
      return () => store.go({ scope: SCOPES[(SCOPES.indexOf(place.scope) + 1) % 3]! });
    case "s":
      return () => store.go({ hide: !place.hide });
    case "/":
      return () => root.querySelector<HTMLInputElement>("#text")?.focus();
    case "?":
      return () => (store.help = true);
  }
  return null;
}

function move(store: Store, by: number, root: HTMLElement, target: HTMLElement): void {
  const count = store.own.length;
  const token = Math.min(Math.max(store.token + by, 0), count - 1);
  store.hover = null;
  store.go({ token });
  if (target.matches("[data-i]")) {
    requestAnimationFrame(() => root.querySelector<HTMLElement>(`[data-i="${token}"]`)?.focus());
  }
}

function turn(store: Store, by: number): void {
  const heads = store.info!.heads;
  const head = store.head + by;
  if (head >= 0 && head < heads) return store.go({ head, scope: "head" });
  climb(store, by, by > 0 ? 0 : heads - 1);
}

function climb(store: Store, by: number, head = store.head): void {
  const layers = store.info!.layers;
  const next = layers[layers.indexOf(store.layer) + by];
  if (next !== undefined) store.go({ layer: next, head });
}
