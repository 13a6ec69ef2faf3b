// SPDX-License-Identifier: Apache-2.0
// What the browser keeps: choices in every tab and for good, a key and a conversation in this tab until it is closed. Browsers may refuse.

const from = (store) => ({
  get(name) {
    try {
      return JSON.parse(store().getItem("nibble-" + name));
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null) store().removeItem("nibble-" + name);
      else store().setItem("nibble-" + name, JSON.stringify(value));
    } catch {
      // Nothing is kept, and the page works all the same.
    }
  },
});

export const choices = from(() => localStorage);
export const tab = from(() => sessionStorage);
