// What the files of the Embeddings tab share. A page has one such tab.
import { say } from "../lib/dom.js";

export const tab = {
  $: null, // finds one element of the tab, $$ all
  $$: null,
  trigger: null, // of Gradio's component
  gallery: null, // the Gallery, as its photos are given and followed
  panel: null, // the MapPanel
  strip: null, // the LayerStrip
  shown: null, // what the map on show was asked by
  chosen: [], // rows of the selected photos
};

export const problem = (text) => say(tab.$(".emb-problem"), text);
