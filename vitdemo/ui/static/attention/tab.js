// The Attention tab: a part for each thing that is on the page.
import * as believe from "./believe.js";
import * as classes from "./classes.js";
import * as controls from "./controls.js";
import * as download from "./download.js";
import * as erase from "./erase.js";
import * as ablation from "./heads/ablation.js";
import * as ledger from "./heads/ledger.js";
import * as wall from "./heads/wall.js";
import * as filmstrip from "./filmstrip.js";
import * as layers from "./layers.js";
import * as lensTable from "./heads/lens_table.js";
import * as photo from "./photo.js";
import * as stage from "./stage.js";
import { mountOn } from "./state.js";
import * as presenter from "./show/presenter.js";
import * as words from "./show/words.js";

export default function mount(component) {
  mountOn(component);
  for (const part of [stage, layers, filmstrip, controls, classes, ledger, wall, ablation, lensTable, erase, believe, download, presenter, words, photo]) part.listen();
  component.watch("value", photo.announce);
  photo.announce();
  photo.pick(); // what was picked while the modules were on their way
}
