/** The answer to a question that follows what is shown; a newer question drops the older one. */
import type { Packet } from "./packet";
import type { Params } from "./source";
import type { Store } from "./store.svelte";

export class Resource<Head> {
  packet = $state.raw<Packet<Head> | null>(null);
  key = $state("");
  error = $state("");
  pending = $state(false);

  constructor(store: Store, wanted: () => { question: string; params: Params; wait?: number } | null) {
    $effect(() => {
      const want = store.reading ? wanted() : null;
      if (!want) return;
      const abort = new AbortController();
      const key = JSON.stringify([store.reading!.id, store.kind, want.question, want.params]);
      const ask = () => {
        this.pending = true;
        store
          .ask<Head>(want.question, want.params)
          .then((packet) => {
            if (abort.signal.aborted) return;
            this.packet = packet;
            this.key = key;
            this.error = "";
            this.pending = false;
          })
          .catch((error: unknown) => {
            if (abort.signal.aborted) return;
            this.pending = false;
            this.error = error instanceof Error ? error.message : String(error);
          });
      };
      const timer = want.wait ? setTimeout(ask, want.wait) : (ask(), undefined);
      return () => {
        abort.abort();
        clearTimeout(timer);
      };
    });
  }
}
