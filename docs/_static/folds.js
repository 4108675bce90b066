// Folds: a switch in the header opens those over code or closes them, and remembers; a link to something inside a fold
// or a covered result opens it; printing opens what paper cannot unfold.
(() => {
  const NAME = "petbreeds-code";
  const kept = () => { try { return localStorage.getItem(NAME); } catch { return null; } };
  const keep = (value) => { try { localStorage.setItem(NAME, value); } catch { /* forgotten with the page */ } };
  const folds = () => document.querySelectorAll("article details.hide, article details.api-fold");
  const button = document.querySelector(".code-switch");
  const show = (all) => {
    folds().forEach((fold) => { fold.open = all; });
    if (!button) return;
    button.setAttribute("aria-pressed", String(all));
    button.querySelector(".code-switch-words").textContent = all ? "All code" : "Ideas only";
  };
  if (button) {
    button.hidden = !folds().length;
    button.addEventListener("click", () => {
      const all = button.getAttribute("aria-pressed") !== "true";
      const still = [...document.querySelectorAll("article :is(h2, h3, p)")].find((one) => one.getBoundingClientRect().top > 60);
      const before = still?.getBoundingClientRect().top;
      show(all);
      if (still) scrollBy({ top: still.getBoundingClientRect().top - before, behavior: "instant" }); // what was read stays in place
      keep(all ? "all" : "ideas");
    });
  }
  if (kept() === "all") show(true);

  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    target.closest(".covered")?.dispatchEvent(new Event("uncover"));
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Wide code, tables and equations scroll: a keyboard can reach them.
  const reach = () => document.querySelectorAll("article pre, article .output.text_html, article table.table, article mjx-container[display]").forEach((box) => {
    const wide = box.scrollWidth > box.clientWidth + 1;
    if (wide) box.tabIndex = 0; else if (box.tabIndex === 0) box.removeAttribute("tabindex");
  });
  addEventListener("load", () => { reach(); window.MathJax?.startup?.promise?.then(reach); });
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
})();
