// Search: the numbers are Sphinx's own; a chapter comes before rooms and before the reference that lists its functions.
var Scorer = {
  score: ([docname, title, anchor, descr, score]) => (docname.includes("/") ? score / 4 : score),
  objNameMatch: 11, objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
