// Numbers for people.

// A probability: one decimal, and never rounded to zero or to certainty, as `percent` in templating.py.
export const percent = (share) =>
  share > 0 && share < 0.001 ? "< 0.1 %" : share > 0.999 && share < 1 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;

// 1st, 2nd, 3rd, 11th.
export function ordinal(number) {
  const teen = Math.floor(number / 10) % 10 === 1;
  return `${number}${(!teen && { 1: "st", 2: "nd", 3: "rd" }[number % 10]) || "th"}`;
}

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

// A name as one line, as `shown_name` in core/names.py: without control and direction-changing characters, a long one without its middle.
export function shownName(name, longest = 60) {
  const line = [...name.replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, "�").trim()];
  return line.length > longest ? `${line.slice(0, longest - 21).join("")}…${line.slice(-20).join("")}` : line.join("") || "unnamed";
}

// Seconds as people say them: 12 s, 3 min, 1.5 h.
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Number((seconds / 3600).toPrecision(2))} h`;
}

// Seconds as minutes and seconds: 1:05.
export function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
