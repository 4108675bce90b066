// Predict, then see: the result below a question is covered until the reader has guessed or asks for it.
(() => {
  const { record, element } = window;

  const number = (text) => { // 0.6, 12 %, 1/37, 1,110 or 0,5; NaN for anything else
    const bare = text.replace(/[%\s\u00a0]|percent/g, "");
    const fraction = bare.match(/^([-+]?[\d.]+)\/([\d.]+)$/);
    if (fraction) return fraction[1] / fraction[2];
    const point = /^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(bare) ? bare.replaceAll(",", "") : bare.replace(",", ".");
    return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(point) ? Number(point) : NaN;
  };

  const inUnit = (value, unit) => (unit === "%" || !unit ? `${value}${unit && " %"}` : `${value} ${unit}`);

  // Both numbers on one line: a ring for the guess, a dot for the result.
  const plot = (guess, result, unit) => {
    const most = Math.max(guess, result), least = Math.min(guess, result);
    const logarithmic = least > 0 && most / least > 30;
    const scale = logarithmic ? Math.log10 : (value) => value;
    const low = logarithmic ? Math.floor(scale(least)) : Math.min(0, least);
    const high = logarithmic ? Math.ceil(scale(most)) : unit === "%" && most <= 100 && most > 50 ? 100 : most * 1.15 || 1;
    const place = (value) => 4 + 92 * (scale(value) - low) / ((high - low) || 1);
    const ends = (logarithmic ? [10 ** low, 10 ** high] : [low, high]).map((end) => Number(end.toPrecision(2)));
    const mark = (kind, value, label) => {
      const made = element("span", { className: `mark ${kind}` }, element("span", { className: "mark-label", textContent: label }));
      made.style.left = `${place(value)}%`;
      if (place(value) > 70) made.classList.add("at-right");
      return made;
    };
    const line = element("div", { className: "guess-plot" },
      mark("is-result", result, `result ${inUnit(result, unit)}`), mark("is-guess", guess, `your guess ${inUnit(guess, unit)}`),
      element("span", { className: "end-low", textContent: inUnit(ends[0], unit) }),
      element("span", { className: "end-high", textContent: inUnit(ends[1], unit) }));
    line.setAttribute("role", "img");
    line.setAttribute("aria-label", `Your guess ${inUnit(guess, unit)}, the result ${inUnit(result, unit)}`
      + (logarithmic ? ", on a logarithmic line" : ""));
    return line;
  };

  const prepare = (question) => {
    const key = question.id.replace("predict-", "");
    const result = document.getElementById(`result-${key}`);
    if (!result) return;
    const asked = JSON.parse(question.querySelector("script").textContent);
    const said = element("div", { className: "guess-said" });
    const name = `guess-${key}`;
    const problem = element("p", { className: "guess-problem", id: `${name}-problem` });
    problem.setAttribute("role", "alert");
    const cover = element("div", { className: "cover" }, element("span", { textContent: "The result is covered until you guess." }));
    const show = element("button", { type: "button", className: "plain-button", textContent: "Show it without a guess" });
    cover.append(" ", show);

    let field;
    if (asked.kind === "choice") {
      field = element("fieldset", {}, element("legend", { textContent: "Your guess" }), ...asked.options.map((option) => element("label", {},
        element("input", { type: "radio", name, value: option }), ` ${option}`)));
    } else {
      const input = element("input", { type: "text", name, id: name, autocomplete: "off", maxLength: 200 });
      if (asked.kind === "number") { input.inputMode = "decimal"; input.size = 8; }
      input.setAttribute("aria-describedby", problem.id);
      const unit = asked.unit ? ` ${asked.unit}` : "";
      field = element("div", { className: "guess-field" }, element("label", { htmlFor: name, textContent: "Your guess" }), " ", input, unit);
    }
    const form = element("form", { className: "guess", noValidate: true }, field,
      element("button", { type: "submit", textContent: "Guess and see" }), problem);

    const uncover = (guess, isNew) => {
      result.classList.remove("covered");
      cover.remove();
      form.remove();
      said.replaceChildren();
      if (guess) {
        const own = element("p", {}, element("strong", { textContent: "Your guess: " }),
          asked.kind === "number" ? inUnit(guess, asked.unit) : guess);
        said.append(own);
        if (asked.kind === "number" && asked.result !== null) said.append(plot(number(guess), asked.result, asked.unit));
      }
      result.prepend(said);
      result.querySelectorAll("details:not(.hide, .api-fold)").forEach((fold) => { fold.open = true; }); // an answer folded by hand
      if (!isNew) return;
      result.tabIndex = -1;
      result.setAttribute("aria-label", guess ? `Your guess was ${guess}. The result` : "The result");
      result.setAttribute("role", "group");
      result.focus({ preventScroll: true });
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const guess = (new FormData(form).get(name) ?? "").trim();
      const input = form.querySelector("input[type=text]");
      const wrong = !guess ? (asked.kind === "choice" ? "Choose one first, or show the result without a guess." : "Write a guess first, or show the result without one.")
        : asked.kind === "number" && Number.isNaN(number(guess)) ? "That is not a number. Write one like 12, 0.5 or 1/37." : "";
      problem.textContent = wrong;
      input?.setAttribute("aria-invalid", String(Boolean(wrong)));
      if (wrong) return (input ?? form.querySelector("input")).focus();
      record.set("guesses", key, guess);
      uncover(guess, true);
    });
    show.addEventListener("click", () => { record.set("guesses", key, ""); uncover("", true); });
    result.addEventListener("uncover", () => uncover("", false)); // a link leads into it

    const before = record.get("guesses", key);
    if (before !== undefined) return uncover(asked.kind === "number" && before && Number.isNaN(number(before)) ? "" : before, false);
    question.append(form);
    result.before(cover);
    result.classList.add("covered");
  };

  document.querySelectorAll(".prediction").forEach(prepare);
})();
