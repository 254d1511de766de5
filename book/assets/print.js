// For the book on paper: pipeline/pdf.py calls these, no page of the book does.
const paper = '172mm'; // between the margins of print.css
const width = node => node.getBoundingClientRect().width;

// Waits for fonts, formulas and pictures, makes a formula or a table that is wider than the
// paper smaller, and reports what is amiss.
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
  return {
    untypeset: [...document.querySelectorAll('.math')]
      .filter(node => !node.querySelector('mjx-container')).map(node => node.textContent),
    unloaded: [...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute('src')),
    wide: wide.map(node => `${node.closest('article')?.id}: ${node.outerHTML.slice(0, 200)}`),
  };
}

// Puts page numbers into the contents.
function number(pages) {
  for (const [name, page] of Object.entries(pages)) {
    document.querySelector(`.contents a[href="#${name}"] span + span`).textContent = page;
  }
}
