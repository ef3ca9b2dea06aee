/* global document, MutationObserver */
// What the theme adds after the page has loaded, made usable by keyboard and named for screen readers.
const repair = () => {
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((nav, number) => {
    nav.setAttribute("aria-label", `Code ${number + 1}`);
  });
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((wrap) => {
    wrap.setAttribute("tabindex", "0");
  });
};
new MutationObserver(repair).observe(document.body, { childList: true, subtree: true });
repair();
