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
