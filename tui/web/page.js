"use strict";

// The keyboard goes to the terminal once the app has drawn (before, the app does not hear of it), and to the link after it.
const FOCUS = { "-first-byte": ".xterm-helper-textarea", "-closed": ".ended a" };

new MutationObserver(() => {
  for (const [state, target] of Object.entries(FOCUS)) {
    if (document.body?.classList.contains(state)) {
      delete FOCUS[state];
      document.querySelector(target)?.focus();
    }
  }
}).observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["class"] });

// textual.js asks for downloads at the root of the server; all that there is lies in the page's own folder.
const inOwnFolder = (address) => String(address).replace(`${location.origin}/download/`, new URL("download/", location.href));
const openWindow = window.open.bind(window);
window.open = (address, ...rest) => openWindow(inOwnFolder(address), ...rest);
