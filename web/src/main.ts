/** Where the page starts: on its own, or inside of a notebook's output. */
import { mount, unmount } from "svelte";
import "./app.css";
import App from "./App.svelte";
import { HttpSource, type Source } from "./lib/source";

export function show(target: Element, source: Source, owner: boolean): () => void {
  const app = mount(App, { target, props: { source, owner } });
  return () => void unmount(app);
}

const place = document.getElementById("eyeline");
if (place) show(place, new HttpSource(), true);
