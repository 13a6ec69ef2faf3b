// SPDX-License-Identifier: Apache-2.0
// What the browser keeps: choices in every tab and for good, a key and a conversation in this tab until it is closed. Where a browser refuses
// that, the page itself remembers it until it is left.

const from = (store) => {
  const refused = new Map();
  return {
    get(name) {
      if (refused.has(name)) return refused.get(name);
      try {
        return JSON.parse(store().getItem("nibble-" + name));
      } catch {
        return null;
      }
    },
    set(name, value) {
      refused.delete(name);
      try {
        if (value === null) store().removeItem("nibble-" + name);
        else store().setItem("nibble-" + name, JSON.stringify(value));
      } catch {
        refused.set(name, value);
        try {
          store().removeItem("nibble-" + name);  // what is older would come back with the page
        } catch {
          // there is none to come back
        }
      }
    },
  };
};

export const choices = from(() => localStorage);
export const tab = from(() => sessionStorage);
