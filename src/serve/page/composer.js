// SPDX-License-Identifier: Apache-2.0
// A field that a text is written in: Enter sends, Shift-Enter begins a line, and the field grows with what stands in it.

// While a word is put together (Chinese, Japanese, ...) Enter is the input method's.
export function sendsOnEnter(area, send) {
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  });
  const grow = () => {
    area.style.height = "auto";
    area.style.height = area.scrollHeight + 2 + "px";
  };
  area.addEventListener("input", grow);
  return grow;
}
