/* What scrolls sideways can be reached with the Tab key and has a name: wide tables, code,
   formulas, drawings. Looked at again when the page changes its width; what fits is let go. */
(() => {
  const name = (box) => {
    const caption = box.querySelector("caption")?.textContent.trim();
    if (caption) return `Table: ${caption}`;
    if (box.querySelector("table")) return "Table";
    if (box.matches("pre, :has(> pre)")) return "Code";
    if (box.matches(".math")) return "Formula";
    return "Scrolls sideways";
  };
  const scrolls = (box) =>
    box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);

  const look = () => {
    const article = document.querySelector("article.bd-article");
    for (const box of article?.querySelectorAll("div, pre, table, figure, svg") ?? []) {
      const given = box.dataset.reached;
      if (scrolls(box) && !box.closest("details:not([open])")) {
        if (given !== undefined) {
          if (box.tabIndex !== 0) box.tabIndex = 0; // the theme has looked after us
          continue;
        }
        const wanted = { tabindex: "0", role: "group", "aria-label": name(box) };
        const lacking = Object.keys(wanted).filter((attribute) => !box.hasAttribute(attribute));
        for (const attribute of lacking) box.setAttribute(attribute, wanted[attribute]);
        box.tabIndex = 0; // the theme writes -1 on what fitted when the page was loaded
        box.dataset.reached = lacking.join(" ");
      } else if (given !== undefined) {
        for (const attribute of given.split(" ").filter(Boolean)) box.removeAttribute(attribute);
        delete box.dataset.reached;
      }
    }
  };

  let asked = 0;
  const soon = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(look);
  };
  addEventListener("resize", soon);
  // Folded code has no width, and the theme writes -1 on what it found to fit: seen at once.
  new MutationObserver(look).observe(document.documentElement, {
    attributes: true,
    attributeFilter: ["open", "tabindex"],
    subtree: true,
  });
  addEventListener("load", () =>
    (window.MathJax?.startup?.promise ?? Promise.resolve()).then(soon),
  );
})();
