// The Embeddings tab: a gallery as a map, layer by layer.
import { Gallery } from "../components/gallery_upload.js";
import { finders } from "../lib/dom.js";
import { mountAddClass } from "./add_class.js";
import { mountKeptMaps } from "./kept_maps.js";
import { heardGallery, mountMapView } from "./map_view.js";
import { mountPhoto, showTab } from "./photo.js";
import { mountScores } from "./scores.js";
import { mountSelection } from "./selection.js";
import { tab } from "./shared.js";

const KEY = "vitdemo-embeddings";

export default function mount({ element, props, trigger }) {
  Object.assign(tab, { ...finders(element), trigger });
  tab.gallery = new Gallery(element, props.value, KEY, heardGallery);
  mountMapView();
  mountScores();
  mountPhoto();
  mountAddClass();
  mountSelection();
  showTab("groups");
  tab.gallery.resume();
  mountKeptMaps();
}
