// Asks the gateway. Addresses are relative to the page, so a path prefix in front of it does no harm.

const KEY = "headrace-key";

/** An answer that is no success; `status` 0 is no answer at all. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The key of this tab, or null. */
export const savedKey = () => sessionStorage.getItem(KEY);
/** Keep a key until the tab is closed. */
export const saveKey = (key) => sessionStorage.setItem(KEY, key);
/** Forget it. */
export const forgetKey = () => sessionStorage.removeItem(KEY);

/** GET JSON from a page below `v1/`. Throws Refusal, and AbortError when `signal` says so. */
export async function get(page, params, signal) {
  const query = new URLSearchParams(Object.entries(params ?? {}).filter(([, value]) => value !== null)).toString();
  const key = savedKey();
  const response = await answered(`v1/${page}${query ? `?${query}` : ""}`, {
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
    cache: "no-store",
    credentials: "same-origin",
    signal,
  });
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  throw new Refusal(response.status, body?.error?.message ?? `The server answered with status ${response.status}.`);
}

async function answered(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The gateway does not answer.");
  }
}
