"use strict";
for (const section of document.querySelectorAll("[data-video]")) {
  const video = section.querySelector("video");
  const lanes = [...section.querySelectorAll(".lane")];
  const length = Number(section.dataset.length);
  let now = 0;

  const clock = (seconds) => {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
  };

  const describe = (lane, seconds) => {
    const { edges, labels, rows } = lane.course;
    let index = 0;
    while (index + 1 < edges.length && edges[index + 1] <= seconds) index += 1;
    const row = seconds >= edges[0] && index < rows.length ? rows[index] : null;
    if (row === null) return `${clock(seconds)}: this face is not seen`;
    const order = row.map((value, k) => [value, labels[k]]).sort((a, b) => b[0] - a[0]);
    const shown = order.slice(0, 3).map(([value, name]) => `${name} ${Math.round(100 * value)} %`);
    return `${clock(seconds)}: ${shown.join(", ")}`;
  };

  const show = (seconds) => {
    now = Math.min(Math.max(seconds, 0), length);
    for (const lane of lanes) {
      lane.querySelector(".playhead").style.left = `${(100 * now) / length}%`;
      lane.setAttribute("aria-valuenow", now.toFixed(1));
      const text = describe(lane, now);
      lane.setAttribute("aria-valuetext", text);
      lane.parentElement.querySelector(".readout").textContent = text;
    }
  };

  const seek = (seconds) => {
    show(seconds);
    if (video) video.currentTime = now;
  };

  for (const lane of lanes) {
    lane.course = JSON.parse(lane.querySelector("script").textContent);
    const at = (event) => {
      const box = lane.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * length;
    };
    lane.addEventListener("click", (event) => seek(at(event)));
    lane.addEventListener("pointermove", (event) => {
      lane.parentElement.querySelector(".readout").textContent =
        describe(lane, Math.min(Math.max(at(event), 0), length));
    });
    lane.addEventListener("pointerleave", () => show(now));
    lane.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.5, ArrowRight: 0.5, PageDown: -5, PageUp: 5 };
      if (event.key in steps) seek(now + steps[event.key]);
      else if (event.key === "Home") seek(0);
      else if (event.key === "End") seek(length);
      else if (event.key === " " && video) video.paused ? video.play() : video.pause();
      else return;
      event.preventDefault();
    });
  }
  for (const button of section.querySelectorAll("button.time")) {
    button.addEventListener("click", () => {
      seek(Number(button.dataset.seconds));
      if (video) video.scrollIntoView({ block: "nearest" });
    });
  }
  if (video) {
    video.addEventListener("timeupdate", () => show(video.currentTime));
    video.addEventListener("error", () => {
      section.querySelector(".video-note").textContent =
        "The video cannot be played here: it was moved, or this browser does not know its format.";
    });
  }
  show(0);
}
