(() => { // where a browser forbids its storage, or it is full, a makeshift serves until the page is left
  const kept = new Map();
  let real = null;
  try {
    real = window.localStorage;
    real.setItem("petbreeds-try", "1");
    real.removeItem("petbreeds-try");
  } catch {
    const read = (name) => { try { return real ? real.getItem(name) : null; } catch { return null; } };
    const makeshift = {
      getItem: (name) => kept.has(name) ? kept.get(name) : read(name),
      setItem: (name, value) => { kept.set(name, String(value)); },
      removeItem: (name) => { kept.set(name, null); },
    };
    Object.defineProperty(window, "localStorage", { value: makeshift, configurable: true });
    window.storageIsAMakeshift = true;
  }
})();
