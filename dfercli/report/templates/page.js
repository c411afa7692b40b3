// Which view is shown: all videos, or the one that the address names.
const place = document.getElementById("view");
const bar = document.getElementById("views");
const start = overview.videos.length > 1 ? new Start() : null;
let watch = null;

const route = (isFirst) => {
  const asked = /^#video-(\d+)$/.exec(location.hash);
  const number = start === null ? 0 : asked && overview.videos[asked[1]] ? Number(asked[1]) : null;
  watch?.close();
  watch = number === null ? null : new Watch(number);
  place.replaceChildren(watch === null ? start.element : watch.element);
  bar.replaceChildren(...(start !== null && watch !== null ? around(number) : []));
  if (!isFirst) (watch?.heading ?? place).focus();
  if (!isFirst) scrollTo(0, 0);
};

// The way back, and to the videos before and after, as the list is ordered now.
const around = (number) => {
  const at = start.shown.findIndex((video) => video.number === number);
  const link = (video, text, label) => (video ? el("a", { href: `#video-${video.number}`, "aria-label": `${label}: ${video.name}` }, text) : null);
  return [el("a", { href: "#", class: "back" }, "← All videos"), link(start.shown[at - 1], "previous", "Previous video"), link(start.shown[at + 1], "next", "Next video")].filter(Boolean);
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea") !== null;
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || watch === null) return;
  const isButton = event.target.closest("button, a, summary") !== null;
  if (event.key === " " && isButton) return;
  if (event.key === "Escape" && start !== null) location.hash = "";
  else if (!watch.key(event)) return;
  event.preventDefault();
});
addEventListener("hashchange", () => route(false));
addEventListener("beforeprint", () => {
  watch?.openAll?.();
  if (watch === null) start.fillMore(Infinity);
});
route(true);
