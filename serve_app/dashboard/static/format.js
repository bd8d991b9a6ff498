// Figures as people read them. Nothing here rounds before it is shown.

const DASH = "–";
const LOCALE = "en-US";
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });
const signed = (value, text) => (value < 0 ? `−${text}` : text);

/** 12.3456 -> "$12.35", 0.0000015449 -> "$0.00000154", null -> "–". */
export function usd(value) {
  if (value === null || value === undefined) return DASH;
  if (value === 0) return "$0";
  return dollars(value, digitsFor(Math.abs(value)));
}

/** As many decimals as `whole` has, for amounts that stand beside it; more where none of them would be left. */
export function usdBeside(value, whole) {
  const digits = digitsFor(whole);
  const least = 0.5 * 10 ** -(digits.maximumFractionDigits ?? 20);
  return value !== 0 && Math.abs(value) < least ? usd(value) : dollars(value, digits);
}

function digitsFor(size) {
  if (size >= 1000) return { maximumFractionDigits: 0 };
  if (size >= 1) return { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return size >= 0.01 ? { minimumFractionDigits: 4, maximumFractionDigits: 4 } : { maximumSignificantDigits: 3 };
}

const dollars = (value, digits) => signed(value, `$${new Intl.NumberFormat(LOCALE, digits).format(Math.abs(value))}`);

/** 0.1234 -> "12.3 %" (with a narrow space), null -> "–". Never "100 %" or "0 %" for a share that is not. */
export function share(value) {
  if (value === null || value === undefined) return DASH;
  const percent = Math.abs(value) * 100;
  if (percent > 0 && percent < 0.05) return signed(value, "< 0.1\u202f%");
  if (percent < 100 && percent >= 99.95) return signed(value, "> 99.9\u202f%");
  const digits = percent === 0 || percent === 100 ? 0 : 1;
  return signed(value, `${percent.toFixed(digits)}\u202f%`);
}

/** 12345 -> "12,345". */
export function count(value) {
  return value === null || value === undefined ? DASH : whole.format(value);
}

/** 12345678 -> "12.3M", for places with little room. */
export function about(value) {
  return value === null || value === undefined ? DASH : value < 10_000 ? whole.format(value) : compact.format(value);
}

/** Milliseconds: 12.34 -> "12.3 ms", 2345 -> "2.35 s", 75000 -> "75 s"; the space is narrow and does not break. */
export function duration(ms) {
  if (ms === null || ms === undefined) return DASH;
  if (ms < 100) return `${ms.toPrecision(ms < 1 ? 2 : 3).replace(/\.0+$/, "")}\u202fms`;
  if (ms < 1000) return `${Math.round(ms)}\u202fms`;
  return ms < 60_000 ? `${(ms / 1000).toPrecision(3)}\u202fs` : `${Math.round(ms / 1000)}\u202fs`;
}

/** Bytes: 5_000_000 -> "4.8 MiB". */
export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** power).toFixed(power && value / 1024 ** power < 100 ? 1 : 0)}\u202f${units[power]}`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric" });

const moment = (seconds) => new Date(seconds * 1000);

/** Seconds since the epoch -> "14:03:22". */
export const timeOf = (seconds) => clock.format(moment(seconds));
/** "14:00". */
export const hourOf = (seconds) => hour.format(moment(seconds));
/** "24 Nov". */
export const dayOf = (seconds) => day.format(moment(seconds));
/** "Mon 24". */
export const weekdayOf = (seconds) => weekday.format(moment(seconds));
/** "24 Nov, 14:00". */
export const dayAndHour = (seconds) => `${dayOf(seconds)}, ${hourOf(seconds)}`;
/** "2026-11-24T14:03:22.000Z". */
export const exactly = (seconds) => moment(seconds).toISOString();

/** A time today as "14:03:22", an earlier one as "24 Nov, 14:03". */
export function when(seconds) {
  return moment(seconds).toDateString() === new Date().toDateString() ? timeOf(seconds) : dayAndHour(seconds);
}

/** A content digest, short enough for a table. */
export const shortVersion = (version) => (version && version.length > 10 ? version.slice(0, 8) : (version ?? DASH));

/** 1 -> "1 query", 2 -> "2 queries". */
export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
