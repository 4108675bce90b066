// A quiz question answers: the chosen option says whether it is right, and the reason unfolds.
document.querySelectorAll(".quiz").forEach((quiz) => {
  quiz.addEventListener("change", ({ target }) => {
    const right = target.value === quiz.dataset.right;
    quiz.querySelectorAll(".quiz-option").forEach((option) => option.classList.remove("chosen-right", "chosen-wrong"));
    target.closest(".quiz-option").classList.add(right ? "chosen-right" : "chosen-wrong");
    quiz.querySelector(".quiz-verdict").textContent = right ? "Right." : `(${target.value}) is not it. Read why, and choose again.`;
    quiz.querySelector(".quiz-answer").open = true;
  });
});

// A link to something inside a fold opens the fold; printing opens all of them.
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
addEventListener("beforeprint", () => document.querySelectorAll("main details").forEach((fold) => { fold.open = true; }));
