/** Where the page starts: at the server, out of its own file, or in a notebook's output. */
import { mount, unmount } from "svelte";
import "./app.css";
import App from "./App.svelte";
import { FileSource, WidgetSource, type Kept, type Model } from "./lib/kept";
import type { Place } from "./lib/hash";
import { HttpSource, type Source } from "./lib/source";

function show(target: Element, source: Source, owner: boolean, place: Partial<Place> = {}) {
  const app = mount(App, { target, props: { source, owner, place } });
  return () => void unmount(app);
}

// what a notebook's front end calls: anywidget's render, see eyeline.view.notebook
Object.assign(globalThis, {
  eyelineWidget: ({ model, el }: { model: Model; el: Element }) =>
    show(el, new WidgetSource(model), false, model.get("state") as Partial<Place>),
});

const page = document.getElementById("eyeline");
if (page) {
  const data = document.getElementById("eyeline-data");
  if (data) {
    const kept = JSON.parse(data.textContent ?? "") as Kept;
    show(page, new FileSource(kept), true, kept.state);
  } else {
    show(page, new HttpSource(), true);
  }
}
