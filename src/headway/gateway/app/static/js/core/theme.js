/** Light, dark, or what the system prefers; remembered on this machine. */

const KEY = "headway.theme";

/** What is shown now. @returns {"light" | "dark"} */
export function shown() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Show the other one. @returns {"light" | "dark"} */
export function toggle() {
  const next = shown() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // storage is switched off: it counts for this page
  }
  return next;
}
