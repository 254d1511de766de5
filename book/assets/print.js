// Makes the book fit its paper: a formula or a table that is wider is made smaller. Run by
// pipeline/pdf.py, not by a page of the book. Takes the width between the margins, which the
// page has meanwhile, waits for fonts, formulas and pictures, and reports what is amiss.
const [paper, done] = arguments;
const width = node => node.getBoundingClientRect().width;
async function fit() {
  document.body.style.width = paper;
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    const room = width(formula.parentElement), wanted = formula.scrollWidth;
    if (wanted > room + 1) formula.style.fontSize = `${Math.floor(99 * room / wanted)}%`;
  }
  for (const formula of document.querySelectorAll('mjx-container:not([display])')) {
    const room = width(formula.closest('p, li, td, th, dd, figcaption, div'));
    const wanted = width(formula);
    if (wanted > room) formula.style.fontSize = `${Math.floor(99 * room / wanted)}%`;
  }
  for (const table of document.querySelectorAll('table')) {
    const room = width(table.parentElement), wanted = Math.max(width(table), table.scrollWidth);
    if (wanted > room + 1) table.style.zoom = 0.99 * room / wanted;
  }
  const edge = document.body.getBoundingClientRect().right + 1;
  const wide = [...document.querySelectorAll('main *')].filter(node => {
    const box = node.getBoundingClientRect();
    return box.width && box.right > edge && !node.closest('svg, mjx-assistive-mml');
  });
  document.body.style.width = '';
  done({
    untypeset: [...document.querySelectorAll('.math')]
      .filter(node => !node.querySelector('mjx-container')).map(node => node.textContent),
    unloaded: [...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute('src')),
    wide: wide.map(node => `${node.closest('article')?.id}: ${node.outerHTML.slice(0, 200)}`),
  });
}
fit();
