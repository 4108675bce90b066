// A quiz question answers when asked: the chosen option gets its own reason, the right one unfolds the whole answer.
(() => {
  const { record, element } = window;
  const quizzes = [...document.querySelectorAll(".quiz")];
  const score = element("p", { className: "quiz-score" });
  score.setAttribute("role", "status");

  const showScore = () => {
    const right = quizzes.filter((quiz) => record.get("quiz", quiz.dataset.key)?.right).length;
    score.textContent = right ? `${right} of ${quizzes.length} right${right === quizzes.length ? ". Well done." : "."}` : "";
  };

  const prepare = (quiz) => {
    const { key, right } = quiz.dataset;
    const verdict = quiz.querySelector(".quiz-verdict");
    const answer = quiz.querySelector(".quiz-answer");
    const button = element("button", { type: "button", className: "quiz-check", textContent: "Check" });
    verdict.before(button);
    answer.hidden = true;

    const say = (chosen) => {
      const isRight = chosen === right;
      quiz.querySelectorAll(".quiz-option").forEach((option) => {
        option.classList.toggle("chosen-right", isRight && option.control.value === chosen);
        option.classList.toggle("chosen-wrong", !isRight && option.control.value === chosen);
      });
      verdict.replaceChildren(element("strong", { textContent: isRight ? "Right." : `(${chosen}) is not it.` }));
      answer.hidden = !isRight;
      answer.open = isRight;
      if (isRight) return;
      const reason = [...answer.querySelectorAll(".reason")].find((one) => one.dataset.for.split(" ").includes(chosen));
      if (reason) [...reason.cloneNode(true).childNodes].forEach((child) => verdict.append(child));
      verdict.append(element("span", { textContent: " Choose again." }));
    };

    button.addEventListener("click", () => {
      const chosen = quiz.querySelector("input:checked")?.value;
      if (!chosen) { verdict.textContent = "Choose an option first."; return; }
      record.set("quiz", key, { chosen, right: chosen === right });
      say(chosen);
      showScore();
    });

    const before = record.get("quiz", key)?.chosen;
    const option = before && quiz.querySelector(`input[value="${CSS.escape(before)}"]`);
    if (option) { option.checked = true; say(before); }
  };

  quizzes.forEach(prepare);
  quizzes.at(-1)?.after(score);
  showScore();
})();
