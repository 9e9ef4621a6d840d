// A tab's script starts when the tab is first opened: until then, this keeps what the tab showed before a reload.
import { rpc } from "../lib/rpc.js";

const HELD = { "vitdemo-gallery": "classify", "vitdemo-embeddings": "embeddings" };

export function holdGalleries() {
  for (const [key, tab] of Object.entries(HELD)) {
    const gallery = sessionStorage.getItem(key);
    if (gallery) rpc(`${tab}/hold`, { gallery });
  }
}
