// A reader's own record: guesses, quiz answers and exercises, page by page. It stays in this browser; where the
// browser keeps nothing (storage is full or forbidden) it lasts as long as the page, and the page says so.
const record = (() => {
  const NAME = "petbreeds-record";
  const page = typeof DOCUMENTATION_OPTIONS === "undefined" ? "" : DOCUMENTATION_OPTIONS.pagename;
  let kept = true;

  const load = () => {
    try {
      const read = JSON.parse(localStorage.getItem(NAME) ?? "{}");
      return read && typeof read === "object" && !Array.isArray(read) ? read : {};
    } catch (error) {
      if (!(error instanceof SyntaxError)) kept = false; // a damaged record is begun again
      return {};
    }
  };

  let all = load();

  const tell = () => {
    if (kept || document.getElementById("record-lost")) return;
    const note = document.createElement("p");
    note.id = "record-lost";
    note.setAttribute("role", "status");
    note.textContent = "Your browser does not keep what you answer here: its storage is full or forbidden. "
      + "Your answers last until you leave this page.";
    document.querySelector("article")?.prepend(note);
  };

  const save = () => {
    try {
      localStorage.setItem(NAME, JSON.stringify(all));
      kept = localStorage.getItem(NAME) !== null && !window.storageIsAMakeshift;
    } catch {
      kept = false;
    }
    tell();
    dispatchEvent(new Event("record"));
  };

  return {
    page,
    of: (name) => ({ guesses: {}, quiz: {}, done: {}, ...all[name] }),
    get: (kind, key) => all[page]?.[kind]?.[key],
    set(kind, key, value) {
      const latest = load(); // another tab may have written
      if (kept) all = latest;
      const own = (all[page] ??= {});
      const some = (own[kind] ??= {});
      if (value === null) delete some[key]; else some[key] = value;
      save();
    },
    forget(name) {
      if (name) delete all[name]; else all = {};
      save();
    },
    isEmpty: () => !Object.values(all).some((own) => Object.values(own).some((some) => Object.keys(some).length)),
  };
})();
window.record = record;

// What a page shows of it: the chapter map, the box of an exercise, and a way to begin again.
const element = (name, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
};
window.element = element;

const entries = (some) => Object.values(some);
const share = (words, done, total) => (Number(total) ? `${words} ${done} of ${total}` : "");
const showMap = () => {
  document.querySelectorAll(".own-record").forEach((place) => {
    const { guesses, quiz, done } = record.of(place.dataset.page);
    const right = entries(quiz).filter((answer) => answer.right).length;
    const parts = [entries(guesses).length && share("predicted", entries(guesses).length, place.dataset.predictions),
      entries(quiz).length && share("quiz", right, place.dataset.questions),
      entries(done).length && share("exercises", entries(done).length, place.dataset.exercises)];
    place.textContent = parts.filter(Boolean).join(" · ");
  });
  document.querySelectorAll(".record-summary").forEach((place) => { place.hidden = record.isEmpty(); });
};

document.querySelectorAll(".record-summary").forEach((place) => {
  const button = element("button", { type: "button", className: "plain-button", textContent: "Clear my record" });
  button.addEventListener("click", () => confirm("Clear all your guesses, quiz answers and exercises?") && record.forget());
  place.append("Your record is kept in this browser and sent nowhere. ", button);
});
showMap();
addEventListener("record", showMap);

document.querySelectorAll(".exercise-done").forEach((place) => {
  const { key } = place.dataset;
  const box = element("input", { type: "checkbox", checked: Boolean(record.get("done", key)) });
  box.addEventListener("change", () => record.set("done", key, box.checked ? true : null));
  place.append(element("label", {}, box, " I have solved this exercise"));
});

const article = document.querySelector("article");
if (article?.querySelector(".prediction, .quiz, .exercise-done")) {
  const button = element("button", { type: "button", className: "plain-button", textContent: "Begin this chapter again" });
  const row = element("p", { className: "begin-again" }, button, " It covers the results and clears your answers on this page.");
  button.addEventListener("click", () => { record.forget(record.page); location.hash = ""; scrollTo(0, 0); location.reload(); });
  article.append(row);
}
