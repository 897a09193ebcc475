// Before the first paint, so that a page that is remembered as dark never flashes white. The rest is in core/theme.js.
try {
  const theme = localStorage.getItem("headway.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // storage is switched off: the system's preference counts
}
