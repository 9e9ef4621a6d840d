// What the page's parts tell each other of models.
export const RENAMED = "vitdemo-renamed"; // an event on the document: a visitor's own model has another title
