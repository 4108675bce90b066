// Search: names first (titles, headings, terms, functions), then the words of the pages, which Pagefind knows.
(() => {
  const root = document.documentElement.dataset.content_root;
  const here = new URL(root, location.href);
  const IRREGULAR = [["freeze", "froze", "frozen", "unfreeze", "unfrozen"], ["learn", "learnt"], ["train", "training"],
    ["choose", "chose", "chosen"], ["draw", "drew", "drawn"], ["write", "wrote", "written"], ["error", "wrong", "mistake"],
    ["overfit", "overfitting", "overfitted"], ["picture", "image", "photograph", "photo"], ["augment", "augmentation"],
    ["normalise", "normalize", "normalisation", "normalization"], ["probability", "probabilities"]];

  const stem = (word) => {
    const bare = word.toLowerCase().replace(/(isation|ization|ations?|ities|ity|ings?|ies|ers?|ed|es|s|e|y)$/, "");
    return (bare.length > 2 ? bare : word.toLowerCase()).replace(/([^s])\1$/, "$1");
  };
  const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
  const pieces = (text) => words(text).flatMap((word) => (word.includes("_") ? [word, ...word.split("_").filter(Boolean)] : [word]));
  const families = IRREGULAR.map((forms) => forms.slice(0, 5));
  const forms = (word) => {
    const own = stem(word);
    const family = families.find((some) => some.some((form) => stem(form) === own));
    return family ?? [word];
  };

  // How well a name answers; 0 where it does not.
  const KINDS = { chapter: 3, term: 2.6, function: 2.4, class: 2.4, method: 1.6, constant: 1.4, section: 1.6, room: 1.2, reference: 0.8 };
  const score = (entry, query) => {
    const name = entry.n.toLowerCase().replace(/^[\dA-Z.]+\.\s/i, ""), asked = query.toLowerCase().trim();
    const stems = pieces(name).map(stem), wanted = words(asked);
    const hit = (word) => forms(word).some((form) => stems.includes(stem(form)));
    let base = 0;
    if (name === asked || name.replaceAll("-", " ") === asked) base = 10;
    else if (wanted.map(stem).join() === words(name).map(stem).join()) base = 9;
    else if (name.startsWith(asked)) base = 6;
    else if (` ${name} `.includes(` ${asked} `)) base = 5;
    else if (wanted.length && wanted.every(hit)) base = 4 * (0.5 + 0.5 * wanted.length / Math.max(wanted.length, words(name).length));
    else if (asked.length > 2 && name.includes(asked)) base = 2;
    if (!base) return 0;
    return base * KINDS[entry.k] * (entry.r && entry.k === "section" ? 0.5 : 1);
  };

  // The least number of letters to add, drop, change or swap.
  const distance = (a, b) => {
    const rows = [...Array(a.length + 1)].map((_, i) => [i, ...Array(b.length).fill(0)]);
    for (let j = 1; j <= b.length; j++) rows[0][j] = j;
    for (let i = 1; i <= a.length; i++) for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + !same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
    }
    return rows[a.length][b.length];
  };

  let names, known, index;
  const load = async () => {
    if (names) return;
    await new Promise((done, failed) => {
      const script = Object.assign(document.createElement("script"), { src: new URL("_static/names.js", here), onload: done, onerror: failed });
      document.head.append(script);
    });
    names = window.courseNames;
    known = new Map();
    names.filter((entry) => entry.k !== "section" || !entry.r).forEach((entry) => pieces(entry.n).forEach((word) => word.length > 3 && known.set(stem(word), word)));
    try {
      index = await import(new URL("pagefind/pagefind.js", here));
      await index.options({ excerptLength: 24, ranking: { termFrequency: 0.7, pageLength: 0.5, termSimilarity: 1.2 } });
      await index.init();
    } catch { index = null; } // a page opened from a folder: names are found all the same
  };

  const inPages = async (query) => {
    if (!index) return [];
    const asked = words(query);
    const variants = new Set([query]);
    asked.forEach((word) => forms(word).slice(0, 4).forEach((form) => variants.add(asked.map((one) => (one === word ? form : one)).join(" "))));
    const found = new Map();
    const add = (results, weight) => results.slice(0, 20).forEach((result, place) => {
      const value = weight / (place + 2);
      const before = found.get(result.id);
      found.set(result.id, { result, value: (before?.value ?? 0) + value });
    });
    if (asked.length > 1) add((await index.search(`"${query}"`)).results, 3);
    for (const variant of variants) add((await index.search(variant)).results, variant === query ? 1.5 : 1);
    const best = [...found.values()].sort((a, b) => b.value - a.value).slice(0, 14);
    const pages = await Promise.all(best.map(async ({ result, value }) => ({ value, data: await result.data() })));
    return pages.map(({ value, data }) => {
      const path = data.raw_url ?? data.url;
      const isRoom = path.replace(/^\//, "").includes("/");
      const part = data.sub_results.reduce((most, sub) => (sub.locations.length > (most?.locations.length ?? 0) ? sub : most), null) ?? data;
      const marks = [...(part.excerpt ?? data.excerpt).matchAll(/<mark>(.*?)<\/mark>/g)].flatMap((found) => words(found[1]));
      const begins = asked.flatMap(forms).map((form) => form.toLowerCase().slice(0, 4)); // Pagefind answers nonsense with its first letter
      if (!marks.some((mark) => begins.some((begin) => mark.startsWith(begin)))) return null;
      return { value: value * (isRoom ? 0.35 : 1), url: (part.url ?? path).replace(/^\//, ""), title: data.meta.title,
        part: part.title !== data.meta.title ? part.title : "", excerpt: part.excerpt ?? data.excerpt };
    }).filter(Boolean).sort((a, b) => b.value - a.value).slice(0, 10);
  };

  const meant = (query) => {
    const better = words(query).map((word) => {
      if (word.length < 4 || known.has(stem(word)) || forms(word).length > 1) return word;
      let nearest = word, least = word.length < 7 ? 1.5 : 2.5;
      const near = new Set([...known.values(), ...families.flat()]);
      near.forEach((other) => {
        if (Math.abs(other.length - word.length) > 2) return;
        const far = distance(word, other) + (word[0] === other[0] ? 0 : 0.5);
        if (far < least) { least = far; nearest = other; }
      });
      return nearest;
    }).join(" ");
    return better === words(query).join(" ") ? "" : better;
  };

  const element = (name, attributes = {}, ...children) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };
  const clean = (text) => text.replace(/[#¶]\s*$/, "").trim();
  const marked = (excerpt) => { // Pagefind's excerpt is escaped but for its <mark>s
    const holder = new DOMParser().parseFromString(`<p>${excerpt}</p>`, "text/html").querySelector("p");
    const out = element("p", { className: "search-excerpt" });
    holder.childNodes.forEach((node) => out.append(node.nodeName === "MARK" ? element("mark", { textContent: node.textContent }) : node.textContent));
    return out;
  };
  const address = (url) => new URL(url, here).href;
  const named = (entry) => element("li", { className: `search-hit is-${entry.k}` },
    element("a", { href: address(entry.u), textContent: entry.n }), " ",
    element("span", { className: "search-kind", textContent: entry.k === "section" ? `in ${entry.p}` : entry.p ? `${entry.k} of ${entry.p}` : entry.k }),
    ...(entry.s ? [element("p", { className: "search-excerpt", textContent: entry.s })] : []));
  const textual = (hit) => element("li", { className: "search-hit" },
    element("a", { href: address(hit.url), textContent: clean(hit.title) + (hit.part ? `: ${clean(hit.part)}` : "") }), marked(hit.excerpt));

  let latest = 0;
  const search = async (query, box) => {
    const turn = ++latest;
    if (query.trim().length < 2) return box.replaceChildren();
    await load();
    const find = async (asked) => {
      const best = names.map((entry) => ({ entry, value: score(entry, asked) })).filter(({ value }) => value > 0)
        .sort((a, b) => b.value - a.value).slice(0, 6).map(({ entry }) => entry);
      const seen = new Set(best.map((entry) => entry.u));
      return { best, texts: (await inPages(asked)).filter((hit) => !seen.has(hit.url)) };
    };
    let found = await find(query);
    const better = found.best.length ? "" : meant(query);
    let line = "";
    if (better) {
      const link = element("button", { type: "button", className: "plain-button", textContent: better });
      link.addEventListener("click", () => { box.closest("dialog, article").querySelector("input[type=search]").value = better; search(better, box); });
      line = element("p", { className: "search-meant" }, "Did you mean ", link, "?");
      const corrected = await find(better);
      found = { best: corrected.best, texts: [...corrected.texts, ...found.texts].slice(0, 10) };
    }
    if (turn !== latest) return;
    const total = found.best.length + found.texts.length;
    box.replaceChildren(line, element("p", { className: "search-count", textContent: total ? "" : `Nothing found for “${query}”.` }),
      element("ul", {}, ...found.best.map(named), ...found.texts.map(textual)));
  };

  document.querySelectorAll("form.bd-search").forEach((form) => {
    const input = form.querySelector("input");
    const box = form.parentElement.querySelector(".search-found");
    let waiting;
    input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => search(input.value, box), 150); });
    input.addEventListener("focus", () => load(), { once: true });
    if (box.id !== "search-results") return;
    const asked = new URLSearchParams(location.search).get("q") ?? "";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      history.replaceState(null, "", `?q=${encodeURIComponent(input.value)}`);
      search(input.value, box);
    });
    input.value = asked;
    input.focus();
    search(asked, box);
  });
})();
